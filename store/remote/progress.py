"""What a job has finished goes up as it is made, so that another machine goes on from there.

Files lie where the artifact's own will lie, under their checksums: what becomes part of the artifact is sent
once. An index, written last and only by who holds the claim, says which files belong together.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from filelock import FileLock

from microtome.store.errors import StoreError
from microtome.store.files.checksums import FileRecord, Stamp, checksum, stamp
from microtome.store.files.locks import SUFFIX, lock_path
from microtome.store.files.operations import TEMPORARY
from microtome.store.files.removal import remove
from microtome.store.remote.claims import Claim
from microtome.store.remote.failures import RemoteError
from microtome.store.remote.objects import Objects
from microtome.store.remote.remote import progress_key
from microtome.store.remote.transfer import files_prefix, receive, records, send


class Progress:
    """Sends what is finished in a staging folder, in the background, as long as `claim` is held.

    `kept` is the folder in it that holds what a job needs to go on and no artifact gets. Nothing that fails
    here fails the job: what it makes is in its folder, and the commit sends it.
    """

    def __init__(self, objects: Objects, name: str, folder: Path, kept: str, claim: Claim) -> None:
        self._objects, self._name, self._folder, self._kept, self._claim = objects, name, folder, kept, claim
        self._records: dict[str, tuple[Stamp, FileRecord]] = {}  # of files that were read before
        self._thread = ThreadPoolExecutor(1, "progress")
        self._waiting: Future[None] | None = None
        self._lock = threading.Lock()
        there = objects.get(progress_key(name))
        self._tag = None if there is None else there[1]

    def send_soon(self, paths: Sequence[Path]) -> None:
        """Send these files, and all below these folders. What was to be sent before and has not begun is
        left out: this is newer."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.cancel()
            self._waiting = self._thread.submit(self._send, tuple(paths))

    def close(self, *, wait: bool) -> None:
        """Until nothing is under way; with `wait`, what is still to be sent is sent first."""
        self._thread.shutdown(wait=True, cancel_futures=not wait)

    def _send(self, paths: Sequence[Path]) -> None:
        try:
            if self._claim.renew():
                self._send_index(self._finished(paths))
        except (
            RemoteError,
            StoreError,
            OSError,
        ) as error:  # a file that a job has just replaced, or no network
            print(f"progress is not sent: {error}", flush=True)

    def _send_index(self, files: dict[str, FileRecord]) -> None:
        send(self._objects, files_prefix(self._name), records(self._name, self._folder, files))
        key, index = progress_key(self._name), json.dumps(files, allow_nan=False).encode()
        if self._tag is None:
            self._tag = self._objects.put_new(key, index)
        else:
            self._tag = self._objects.put_unchanged(key, index, self._tag)
        if self._tag is None:  # another process of this machine, or a successor, has written one since
            there = self._objects.get(key)
            self._tag = None if there is None else there[1]
            return
        current = {file.key for file in records(self._name, self._folder, files)}
        states = f"/{self._kept}/"
        stale = [e.key for e in self._objects.list(files_prefix(self._name)) if states in e.key]
        self._objects.delete([key for key in stale if key not in current])

    def _finished(self, paths: Sequence[Path]) -> dict[str, FileRecord]:
        """The files at the paths and below them; they are listed in this order, and read once all are."""
        listed = [file for path in paths for file in ([path] if path.is_file() else _files(path))]
        names = {path.relative_to(self._folder).as_posix(): path for path in listed}
        return {file: self._record(file, path) for file, path in names.items() if _lasts(file, self._kept)}

    def _record(self, file: str, path: Path) -> FileRecord:
        now = stamp(path.stat())
        before, record = self._records.get(file, (None, None))
        if record is None or before != now:
            record = FileRecord(bytes=now[2], checksum=checksum(path))
            self._records[file] = now, record
        return record


def take_over(objects: Objects, name: str, folder: Path, kept: str) -> bool:
    """Put into an empty staging folder what a job on another machine had finished; False if there is nothing
    that can be used. Of several processes that share the folder one does it, and the others wait."""
    there = objects.get(progress_key(name))
    if there is None:
        return False
    (folder / kept).mkdir(exist_ok=True)
    begun = folder / kept / ".taking-over"  # left by a process that was killed on the way
    with FileLock(lock_path(folder / kept / "progress")):
        if not begun.exists() and any(_lasts(p.relative_to(folder).as_posix(), kept) for p in _files(folder)):
            return False
        begun.touch()
        taken = _receive_all(objects, name, folder, kept, there[0])
        remove(begun, inside=folder)
    return taken


def _receive_all(objects: Objects, name: str, folder: Path, kept: str, index: bytes) -> bool:
    """Every file of an index, or none."""
    files: dict[str, FileRecord] = {}
    try:
        files = _index(index)
        states = {file: record for file, record in files.items() if file.startswith(f"{kept}/")}
        parts = {file: record for file, record in files.items() if file not in states}
        for batch in (parts, states):  # a note of a part is never there before the part
            receive(objects, records(name, folder, batch))
    except (ValueError, KeyError, TypeError, AttributeError, RemoteError) as error:
        print(f"what another machine had finished cannot be used: {error}", flush=True)
        for file in files:
            remove(folder / file, inside=folder)
        return False
    return True


def _index(content: bytes) -> dict[str, FileRecord]:
    """What `Progress` wrote; ValueError, KeyError or TypeError for anything else."""
    files = {
        file: FileRecord(bytes=int(record["bytes"]), checksum=str(record["checksum"]))
        for file, record in json.loads(content).items()
    }
    outside = [f for f in files if PurePosixPath(f).is_absolute() or ".." in PurePosixPath(f).parts]
    if outside:
        raise ValueError(f"it names {outside[0]}")
    return files


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _lasts(file: str, kept: str) -> bool:
    """Whether a file is whole by its name: no lock, and none that is being written."""
    steps = PurePosixPath(file).parts
    hidden = any(step.startswith(".") for step in (steps[1:] if steps[0] == kept else steps))
    return not hidden and not file.endswith((SUFFIX, TEMPORARY))
