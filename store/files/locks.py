"""The lock of a folder that is being worked in: a file beside it, locked as long as the process lives.

Where one process excludes all others, the store uses the library filelock. These locks do more than it can:
several processes share a folder and one of them waits for the rest, the lock file is removed with its
folder, and a process that had opened the removed file notices and opens the new one.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from microtome.store.errors import StoreError
from microtome.store.files.owners import holder_is_gone

try:
    import fcntl
except ImportError:  # Windows: artifacts are read there, never written
    CAN_LOCK = False
else:
    CAN_LOCK = True

SUFFIX = ".lock"


def lock_path(path: Path) -> Path:
    """The lock file of a folder or a file."""
    return path.with_name(path.name + SUFFIX)


def lock_first_unused(area: Path, name: str) -> tuple[int, Path]:
    """Lock the first of the folders `<name>.0`, `<name>.1`, ... that no living process has locked.

    One that a machine has locked which is gone is taken over, with what it holds. Returns the descriptor
    of the lock, to be closed by the caller, and the folder, which may not exist yet.
    """
    number = 0
    while True:
        folder = area / f"{name}.{number}"
        lock = _open_lock_file(folder)
        if not _try_exclusive(lock):
            if holder_is_gone(lock_path(folder)):
                _set_aside(lock, folder)
            else:
                number += 1
        elif _is_file_at(lock, lock_path(folder)):
            return lock, folder
        os.close(lock)


def lock_shared(area: Path, name: str) -> tuple[int, Path]:
    """Lock the folder `<name>.0` together with other processes; waits while one has it exclusively.

    Returns the descriptor of the lock, to be closed by the caller, and the folder, which may not exist yet.
    """
    folder = area / f"{name}.0"
    while True:
        lock = _open_lock_file(folder)
        _flock(lock, shared=True)
        if _is_file_at(lock, lock_path(folder)):
            return lock, folder
        os.close(lock)


def make_exclusive(lock: int) -> None:
    """Wait until every other process that shares the lock has released it or waits here as well."""
    _flock(lock)


def stop_sharing(lock: int) -> None:
    """Let go of a lock that stays open. Who waits for several shared locks lets go of all of them first, or
    two that wait for each other would wait without end."""
    fcntl.flock(lock, fcntl.LOCK_UN)


def release(lock: int, folder: Path) -> None:
    """Close a lock; its file is removed too if the folder no longer exists."""
    with contextlib.suppress(OSError):
        if not folder.exists() and _is_file_at(lock, lock_path(folder)):
            lock_path(folder).unlink()
    os.close(lock)


def is_held(lock: int, folder: Path) -> bool:
    """Whether an open lock still counts: no other machine has taken it for that of one that is gone."""
    return _is_file_at(lock, lock_path(folder))


@contextlib.contextmanager
def reserved_if_unused(folder: Path) -> Iterator[bool]:
    """Whether no living process has the folder locked; if so, no process can lock it in the meantime."""
    _refuse_without_locks(folder)
    try:
        lock = os.open(lock_path(folder), os.O_RDWR | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        yield True
        return
    except OSError:  # another user's, or not a lock file at all
        yield False
        return
    try:
        yield _try_exclusive(lock) and _is_file_at(lock, lock_path(folder))
    finally:
        os.close(lock)


def _set_aside(lock: int, folder: Path) -> None:
    """Remove the lock file of a machine that is gone, unless another process has been faster."""
    if _is_file_at(lock, lock_path(folder)):
        lock_path(folder).unlink(missing_ok=True)


def _open_lock_file(folder: Path) -> int:
    """Open the lock file of a folder, and create it if needed; a symbolic link in its place is refused."""
    _refuse_without_locks(folder)
    return os.open(lock_path(folder), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)


def _refuse_without_locks(folder: Path) -> None:
    if not CAN_LOCK:
        raise StoreError(
            f"cannot work in {folder.parent}: this system has no fcntl to lock files with. Stores can be "
            "read here; to write, use Linux, macOS or WSL"
        )


def _try_exclusive(lock: int) -> bool:
    try:
        _flock(lock, wait=False)
    except BlockingIOError:
        return False
    return True


def _flock(lock: int, *, shared: bool = False, wait: bool = True) -> None:
    fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def _is_file_at(lock: int, path: Path) -> bool:
    """Whether an open lock is still the file at `path`; its last owner may have removed that file."""
    return path.exists() and os.fstat(lock).st_ino == path.stat().st_ino
