"""A lock file beside a folder: held as long as the process that works in the folder lives."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from microtome.store.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: artifacts are read there, never written
    CAN_LOCK = False
else:
    CAN_LOCK = True

SUFFIX = ".lock"


def lock_path(folder: Path) -> Path:
    """The lock file of a folder."""
    return folder.with_name(folder.name + SUFFIX)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file of a path alone, after whoever holds it now. The file stays: another may wait."""
    lock = _opened(path)
    try:
        alone(lock)
        yield
    finally:
        os.close(lock)


def first_free(area: Path, name: str) -> tuple[int, Path]:
    """Lock the first of the folders `<name>.0`, `<name>.1`, ... that no living process holds.

    Returns the open lock, for the caller to close, and the folder, which may not exist yet.
    """
    number = 0
    while True:
        folder = area / f"{name}.{number}"
        lock = _opened(folder)
        if not try_lock(lock):
            number += 1
        elif _is_at(lock, lock_path(folder)):
            return lock, folder
        os.close(lock)


def joined(area: Path, name: str) -> tuple[int, Path]:
    """Hold the folder `<name>.0` together with whoever else joined it; waits while one has it `alone`.

    Returns the open lock, for the caller to close, and the folder, which may not exist yet.
    """
    folder = area / f"{name}.0"
    while True:
        lock = _opened(folder)
        _flock(lock, shared=True)
        if _is_at(lock, lock_path(folder)):
            return lock, folder
        os.close(lock)


def alone(lock: int) -> None:
    """Wait until every other holder of a joined folder has let go of it, or waits here as well."""
    _flock(lock)


def let_go(lock: int, folder: Path) -> None:
    """Close a lock; its file goes too if the folder is gone."""
    with contextlib.suppress(OSError):
        if not folder.exists() and _is_at(lock, lock_path(folder)):
            lock_path(folder).unlink()
    os.close(lock)


@contextlib.contextmanager
def unheld(folder: Path) -> Iterator[bool]:
    """Whether no living process holds the folder; meanwhile none can take it up."""
    _refuse_without_locks(folder)
    try:
        lock = os.open(lock_path(folder), os.O_RDWR | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        yield True
        return
    except OSError:  # another user's, or no lock at all
        yield False
        return
    try:
        yield try_lock(lock) and _is_at(lock, lock_path(folder))
    finally:
        os.close(lock)


def try_lock(lock: int) -> bool:
    """Hold an open lock file alone, unless another process holds it."""
    try:
        _flock(lock, wait=False)
    except BlockingIOError:
        return False
    return True


def _opened(folder: Path) -> int:
    """The lock file of a folder, made if it is not there; a symbolic link in its place is refused."""
    _refuse_without_locks(folder)
    return os.open(lock_path(folder), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)


def _refuse_without_locks(folder: Path) -> None:
    if not CAN_LOCK:
        raise StoreError(
            f"cannot work in {folder.parent}: this system has no fcntl to lock files with. Stores can be "
            "read here; to write, use Linux, macOS or WSL"
        )


def _flock(lock: int, *, shared: bool = False, wait: bool = True) -> None:
    fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def _is_at(lock: int, path: Path) -> bool:
    """Whether an open lock is still the file at `path`; its last holder may have removed that file."""
    return path.exists() and os.fstat(lock).st_ino == path.stat().st_ino
