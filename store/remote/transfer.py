"""Files to objects and back.

An object's key holds the checksum of the file. So two that send different files of one name never write over
each other, what is there already is not sent again, and what comes back is known to be what was sent.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import xxhash

from microtome.store.errors import StoreError
from microtome.store.files.checksums import FileRecord, checksum, stamp
from microtome.store.files.operations import TEMPORARY
from microtome.store.remote.failures import RemoteError
from microtome.store.remote.objects import CHUNK, PARALLEL, Objects

Say = Callable[[int], None]  # told of bytes that have arrived
TRIES = 2  # of a file that does not arrive as it was sent


@dataclass(frozen=True)
class FileTransfer:
    """One file here and its object there."""

    key: str
    path: Path
    record: FileRecord


def file_key(name: str, file: str, record: FileRecord) -> str:
    """Where a file of the artifact `<kind>/<folder>` lies."""
    return f"{files_prefix(name)}/{record['checksum']}/{file}"


def files_prefix(name: str) -> str:
    """Below what all files of an artifact lie, and what is finished of one in the making."""
    return f"files/{name}"


def send(objects: Objects, prefix: str, files: Iterable[FileTransfer], say: Say = lambda count: None) -> None:
    """Write the objects of `files` that are not below `prefix` yet, several at a time."""
    there = {entry.key: entry.bytes for entry in objects.list(prefix)}
    wanted = {file.key: file for file in files}

    def send_one(file: FileTransfer) -> None:
        if there.get(file.key) != file.record["bytes"]:
            _send(objects, file)
        say(file.record["bytes"])

    _all(send_one, wanted.values())


def _send(objects: Objects, file: FileTransfer) -> None:
    try:
        before = stamp(file.path.stat())
        objects.put(file.key, file.path.read_bytes() if before[2] <= CHUNK else file.path)
        changed = stamp(file.path.stat()) != before
    except FileNotFoundError:
        changed = True
    if changed or before[2] != file.record["bytes"]:
        objects.delete([file.key])
        raise StoreError(f"{file.path} changed while it was sent; run the same again")


def receive(objects: Objects, files: Iterable[FileTransfer], say: Say = lambda count: None) -> None:
    """Read the objects of `files` into their paths, several at a time; each file appears whole or not."""

    def receive_one(file: FileTransfer) -> None:
        record = file.record
        receive_checked(objects, file.key, 0, record["bytes"], file.path, record["checksum"])
        say(file.record["bytes"])

    _all(receive_one, files)


def is_here(file: FileTransfer) -> bool:
    """Whether a file is here as it was written; it is read."""
    try:
        return (
            file.path.stat().st_size == file.record["bytes"]
            and checksum(file.path) == file.record["checksum"]
        )
    except OSError:
        return False


def receive_checked(objects: Objects, key: str, start: int, length: int, path: Path, wanted: str) -> None:
    """Some bytes of an object as a file, if they have the checksum `wanted`; RemoteError if they do not. The
    file appears whole or not; its checksum is taken from memory, as the bytes arrive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        for _ in range(TRIES):
            if _receive(objects, key, start, length, temporary) == wanted:
                temporary.replace(path)
                return
    finally:
        temporary.unlink(missing_ok=True)
    raise RemoteError(
        f"{objects.address}: {key} arrived damaged {TRIES} times. Remove the artifact there, and run "
        "its job again"
    )


def _receive(objects: Objects, key: str, start: int, length: int, path: Path) -> str:
    """Write some bytes of an object into a file; their checksum."""
    total = xxhash.xxh3_128()
    with path.open("wb") as stream:
        try:
            for block in objects.stream(key, start, length):
                total.update(block)
                stream.write(block)
        except FileNotFoundError:
            raise RemoteError(
                f"{objects.address} has no {key}, which a manifest names; run its job again"
            ) from None
    return total.hexdigest()


def records(name: str, folder: Path, files: Mapping[str, FileRecord]) -> list[FileTransfer]:
    """The files of the artifact `<kind>/<folder>` that lie in a folder here."""
    return [
        FileTransfer(file_key(name, file, record), folder / file, record) for file, record in files.items()
    ]


def _all(work: Callable[[FileTransfer], None], files: Iterable[FileTransfer]) -> None:
    """Do it for each, several at a time; what the first failure was, once those under way have ended."""
    pool = ThreadPoolExecutor(PARALLEL, "transfer")
    try:
        for done in [pool.submit(work, file) for file in files]:
            done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
