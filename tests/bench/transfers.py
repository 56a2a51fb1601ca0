"""How fast artifacts go to object storage and back, beside a bare loop over the same library.

    python -m tests.bench.transfers [MEGABYTES]

The bare loop puts files, and gets them into files, with as many threads as microtome and nothing else: no
listing of what is there, no checksum, no file that appears whole. Each side moves the same bytes in turn; the
medians are compared. One store is a folder, the other moto's server of S3 on the loopback.
"""

import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import obstore

from microtome.store.files.checksums import FileRecord, checksum
from microtome.store.remote.objects import CHUNK, PARALLEL, Objects
from microtome.store.remote.transfer import FileTransfer, receive, send
from tests.object_storage import environment, make_bucket, serving_s3

FILES = 8
REPEATS = 5


def bare_put(store: Any, files: list[FileTransfer]) -> None:
    """Write each file under its key."""

    def put(file: FileTransfer) -> None:
        content = file.path.read_bytes() if file.record["bytes"] <= CHUNK else file.path
        obstore.put(store, file.key, content, chunk_size=CHUNK, max_concurrency=PARALLEL)

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(put, files))


def bare_get(store: Any, files: list[FileTransfer], folder: Path) -> None:
    """Read each object into a file."""

    def get(file: FileTransfer) -> None:
        with (folder / file.path.name).open("wb") as stream:
            for block in obstore.get(store, file.key).stream():
                stream.write(memoryview(block))

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(get, files))


def files_of(folder: Path, size: int) -> list[FileTransfer]:
    """New random files, so that nothing of them is there already; keys are different each time."""
    transfers = []
    for number in range(FILES):
        path = folder / f"part-{number}"
        path.write_bytes(os.urandom(size))
        record = FileRecord(bytes=size, checksum=checksum(path))
        transfers.append(FileTransfer(f"{secrets.token_hex(8)}/{path.name}", path, record))
    return transfers


def under(prefix: str, files: list[FileTransfer], folder: Path) -> list[FileTransfer]:
    """The same files under other keys, and with places in another folder."""
    return [FileTransfer(f"{prefix}/{f.key}", folder / f.path.name, f.record) for f in files]


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(objects: Objects, folder: Path, size: int) -> dict[str, tuple[float, float]]:
    """Median seconds of (microtome, the bare loop) for put and get."""
    times: dict[str, list[tuple[float, float]]] = {"put": [], "get": []}
    for turn in range(REPEATS + 1):
        files = files_of(folder, size)
        ours, bare = under("ours", files, folder), under("bare", files, folder)
        put = seconds_of_both(
            partial(send, objects, "ours", ours),
            partial(bare_put, objects._store, bare),
            ours_first=bool(turn % 2),
        )
        get = seconds_of_both(
            partial(receive, objects, ours),
            partial(bare_get, objects._store, bare, folder),
            ours_first=bool(turn % 2),
        )
        if turn:  # the first is a warm-up
            times["put"].append(put)
            times["get"].append(get)
        objects.delete([file.key for file in (*ours, *bare)])
    return {
        name: (statistics.median(o for o, _ in pairs), statistics.median(b for _, b in pairs))
        for name, pairs in times.items()
    }


def seconds_of_both(
    ours: Callable[[], object], bare: Callable[[], object], *, ours_first: bool
) -> tuple[float, float]:
    """How long each side takes; who comes second may find warmer caches, so that they take turns."""
    if ours_first:
        return seconds(ours), seconds(bare)
    second = seconds(bare)
    return seconds(ours), second


def report(where: str, megabytes: int, medians: dict[str, tuple[float, float]]) -> None:
    for name, (ours, bare) in medians.items():
        rates = f"{megabytes / ours:.0f} MB/s, the bare loop {megabytes / bare:.0f} MB/s"
        print(f"{where}: {name} at {bare / ours:.2f} of the rate of a bare loop ({rates})", flush=True)


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    size = megabytes * 1_000_000 // FILES
    with tempfile.TemporaryDirectory() as name, serving_s3() as server:
        folder = Path(name)
        (folder / "files").mkdir()
        os.environ |= environment(server)
        make_bucket(server, "bench")
        for where, address in (("a folder", f"file://{name}/remote"), ("moto", "s3://bench/store")):
            report(where, megabytes, compare(Objects(address), folder / "files", size))


if __name__ == "__main__":
    main()
