"""Digests of large files, remembered in the store for as long as the files stay as they are."""

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from microtome.store.artifacts.format import write_format
from microtome.store.errors import StoreError
from microtome.store.files.checksums import checksum_of
from microtome.store.files.locks import lock_path
from microtome.store.identity import digest

DIGESTS = ".digests.jsonl"
SETTLED = (
    2_000_000_000  # ns; the times of a file that changed later than this before it was read say too little
)
LARGE = 16 << 20  # bytes; a file of digests that has grown to this size starts again from nothing
FileTimes = tuple[str, int, int, int, int]  # name, size, times of content and of status in ns, inode


@dataclass(frozen=True)
class Entry:
    """A remembered value: `stamp` is of the files that it was computed from, the one that it is about and
    `beside`, the names of others relative to that one's folder."""

    key: str
    stamp: str
    beside: tuple[str, ...]
    value: str


class Digests:
    """Values that are computed from files, each remembered by name, size, times and inode of these files.

    They are kept in one file in the folder `root`, which any number of processes may use; each line has a
    checksum, and a damaged one counts as not there. Where there is no such folder, or nothing can be written,
    only this object remembers. No path is written, only digests of paths.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._entries: dict[str, Entry] | None = None

    def __reduce__(self) -> tuple[Any, ...]:  # another process reads the file itself
        return Digests, (self._root,)

    def recall(self, what: Mapping[str, Any], path: Path | None = None) -> str | None:
        """The value that `what` had of the file or folder at `path`; None if it is not known, or has changed.
        Without a path, a value that depends on `what` alone."""
        entry = self._loaded().get(_key(what, path))
        if entry is None:
            return None
        current = _stamp(path, entry.beside)
        return entry.value if current is not None and current[0] == entry.stamp else None

    def remember(
        self,
        what: Mapping[str, Any],
        value: str,
        path: Path | None = None,
        *,
        beside: Sequence[Path] = (),
        began: int = 0,
    ) -> None:
        """Note a value for `recall`. `began` is the time (`time.time_ns`) before anything was read of the
        file or folder at `path` and of the files `beside` it. If one may have changed since, nothing is
        noted."""
        names = () if path is None else tuple(sorted(os.path.relpath(p, path.parent) for p in beside))
        current = _stamp(path, names)
        if current is None or current[1] > began - SETTLED:
            return
        entry = Entry(_key(what, path), current[0], names, value)
        self._loaded()[entry.key] = entry
        if self._root is not None and self._root.is_dir():  # to look at a plan makes no store
            with contextlib.suppress(OSError, StoreError):  # a store that is only read works as well
                _append(self._root, entry)

    def of_file(self, path: Path) -> str:
        """The sha256 of a file, 64 hex digits."""
        what = {"sha256": "file"}
        value = self.recall(what, path)
        if value is None:
            began = time.time_ns()
            with path.open("rb") as stream:
                value = hashlib.file_digest(stream, "sha256").hexdigest()
            self.remember(what, value, path, began=began)
        return value

    def _loaded(self) -> dict[str, Entry]:
        if self._entries is None:
            lines = _lines(self._root / DIGESTS) if self._root is not None else ()
            self._entries = {entry.key: entry for entry in lines}
        return self._entries


def _key(what: Mapping[str, Any], path: Path | None) -> str:
    return digest({"what": what, "path": None if path is None else os.path.realpath(path)})


def _stamp(path: Path | None, beside: Sequence[str]) -> tuple[str, int] | None:
    """What changes with the files, and the newest of their times; None if that cannot be told."""
    if path is None:
        return "", -SETTLED
    try:
        names = [path.name, *beside]
        files = [times for name in names for times in _times(path.parent / name, name)]
    except (OSError, ValueError):
        return None
    return digest([list(times) for times in files]), max(max(times[2:4]) for times in files)


def _times(path: Path, name: str) -> Iterator[FileTimes]:
    """Of a file, or of every file below a folder; OSError for what is neither, or leads elsewhere."""
    status = path.stat()
    yield name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    if stat.S_ISREG(status.st_mode):
        return
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(f"{path} is no file")
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_symlink() and entry.is_dir():
                raise OSError(f"{entry.path} leads to another folder")
            yield from _times(Path(entry.path), f"{name}/{entry.name}")


def _lines(path: Path) -> Iterator[Entry]:
    """The entries of a file, as far as they are as they were written."""
    try:
        lines = [] if path.is_symlink() else path.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        checksum, _, text = line.partition(b" ")
        if text and checksum_of(text).encode() == checksum:
            with contextlib.suppress(ValueError, TypeError, KeyError):  # another version's
                values = json.loads(text)
                yield Entry(**{**values, "beside": tuple(values["beside"])})


def _append(root: Path, entry: Entry) -> None:
    """Add a line in one write. What a writer that was killed left of its own line is ended first."""
    text = json.dumps(asdict(entry), ensure_ascii=True, allow_nan=False).encode()
    write_format(root)
    path = root / DIGESTS
    with FileLock(lock_path(path)):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        try:
            if os.fstat(descriptor).st_size > LARGE:
                os.ftruncate(descriptor, 0)
            size = os.fstat(descriptor).st_size
            ended = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
            os.write(descriptor, (b"" if ended else b"\n") + checksum_of(text).encode() + b" " + text + b"\n")
        finally:
            os.close(descriptor)
