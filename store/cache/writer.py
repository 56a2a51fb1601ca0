"""Writes an activation cache part by part; several processes may share the work.

A part is filled in memory that was allocated once, of the size of the largest part, and written by a
background thread while the next is filled. What is on disk is recorded in a scratch folder, so that a
writer that comes later, or another at the same time, does not do it again.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from microtome.store.cache.examples import EXAMPLES, Examples
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import Place
from microtome.store.cache.layout import HIDDEN, PART_BYTES, Layout, plan_parts, refuse_non_finite, starts
from microtome.store.errors import StoreError
from microtome.store.files.checksums import FileRecord, Known, checksum_of, record_files
from microtome.store.files.locks import try_lock
from microtome.store.files.operations import ALIGNMENT, aligned_memory, flush, folder_bytes, write_json
from microtome.store.files.removal import remove

Allocate = Callable[[int], np.ndarray]  # bytes -> uint8 [bytes]
BUFFERS = 2  # one is filled while the other is written


@dataclass
class PartBuffer:
    """A part being filled: exact-size arrays, one slot per example along the ragged axis."""

    number: int
    examples: range
    arrays: dict[str, np.ndarray]
    begin: dict[str, np.ndarray]

    def window(self, name: str, example: int) -> slice:
        """Where an example lies along the ragged axis."""
        position = example - self.examples.start
        return slice(int(self.begin[name][position]), int(self.begin[name][position + 1]))

    def slot(self, name: str, example: int) -> np.ndarray:
        """The writable view of one example: hidden [l, T, dim], attention [l, heads, pairs]."""
        window = self.window(name, example)
        return self.arrays[name][:, window] if name == HIDDEN else self.arrays[name][:, :, window]


class CacheWriter:
    """Writes the parts of a cache that nobody has written and nobody is writing.

        with CacheWriter(folder, scratch, layout, examples) as writer:
            for buffer in writer.claims():
                ...fill buffer...
                writer.submit(buffer)
            described, files = writer.finish()

    `allocate` gives the memory that parts are filled in (pinned, where a GPU copies into it).
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        layout: Layout,
        examples: Examples,
        *,
        part_format: str = "zarr",
        compression: str = "none",
        part_bytes: int = PART_BYTES,
        allocate: Allocate | None = None,
    ) -> None:
        self.folder = folder
        self.scratch = scratch
        self.layout = layout
        self.examples = examples
        self.format_name = part_format
        self.format = PART_FORMATS[part_format]
        self.compression = compression
        self.parts = plan_parts(layout.bytes_per_example(examples.lengths), part_bytes)
        self._allocate = allocate or aligned_memory
        self._memory: list[np.ndarray] = []
        self._claims: dict[int, int] = {}  # part -> its open lock
        self._thread = ThreadPoolExecutor(1, "write", initializer=_give_way)
        self._under_way: Future[None] | None = None
        (folder / "parts").mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(wait=True)
        for number in list(self._claims):
            self._release(number)

    def missing(self) -> list[int]:
        """The numbers of the parts that are not on disk yet."""
        return [number for number in range(len(self.parts)) if not self._is_written(number)]

    def claims(self) -> Iterator[PartBuffer]:
        """Buffers to fill and submit, one after the other: each part that is not on disk and that no other
        process works on. The memory of a buffer is used again for the one after the next."""
        missing = self.missing()
        turn = 0
        for number in missing:
            if self._claim(number):
                if len(self._memory) < BUFFERS:
                    largest = max(self._memory_of(self.parts[n]) for n in missing)
                    self._memory.append(self._allocate(largest))
                yield self._buffer(number, self._memory[turn % len(self._memory)])
                turn += 1

    def submit(self, buffer: PartBuffer, ready: Callable[[], None] = lambda: None) -> None:
        """Write a filled part in the background, once the one before is written; raises what that raised.

        `ready` is called first, in the background too: it returns when the buffer holds its values.
        """
        self.wait()
        self._under_way = self._thread.submit(self._write, buffer, ready)

    def wait(self) -> None:
        """Until everything submitted is on disk; raises what writing it raised."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def finish(self) -> tuple[dict[str, Any], dict[str, FileRecord]]:
        """Write `examples.npz` and gather the records; returns the manifest's `cache` section, and every file
        with its size and checksum."""
        self.wait()
        if self.missing():
            raise StoreError(f"parts {self.missing()} of {self.folder} are not written")
        self.examples.save(self.folder / EXAMPLES)
        files = record_files(self.folder, self.folder / EXAMPLES)
        records = [self._recorded(number) for number in range(len(self.parts))]
        for record in records:
            files |= record.pop("files")
        described = {
            "format": self.format_name,
            "compression": self.compression,
            "layout": asdict(self.layout),
            "examples": len(self.examples.rows),
            "tokens": int(self.examples.offsets[-1]),
            "parts": records,
        }
        return described, files

    def _buffer(self, number: int, memory: np.ndarray) -> PartBuffer:
        part = self.parts[number]
        lengths = self.examples.lengths[part.start : part.stop]
        begin, arrays, used = {}, {}, 0
        for name in self.layout.names():
            begin[name] = starts(self.layout.extents(name, lengths))
            shape = self.layout.shape(name, int(begin[name][-1]))
            size = int(np.prod(shape)) * np.dtype(self.layout.dtype).itemsize
            arrays[name] = memory[used : used + size].view(self.layout.dtype).reshape(shape)
            used += -(-size // ALIGNMENT) * ALIGNMENT
        return PartBuffer(number, part, arrays, begin)

    def _memory_of(self, part: range) -> int:
        """Bytes that the arrays of a part take, each from an aligned address on."""
        sizes = self.layout.bytes_per_example(self.examples.lengths[part.start : part.stop])
        return int(sizes.sum()) + len(self.layout.names()) * ALIGNMENT

    def _write(self, buffer: PartBuffer, ready: Callable[[], None]) -> None:
        """Put a part on disk, whole: refuses inf and NaN, records its checksum last."""
        ready()
        for name, values in buffer.arrays.items():
            begin, first = buffer.begin[name][:-1], buffer.examples.start
            refuse_non_finite(values, name, self.layout.kept(name), begin, first)
        path = self.folder / "parts" / f"{buffer.number:05d}{self.format.suffix}"
        aside = path.with_name("." + path.name)
        for leftover in (aside, path):
            remove(leftover, inside=self.folder)
        try:
            places = self.format.write(aside, buffer.arrays, self.compression)
            files = record_files(aside, aside, _known(places, buffer.arrays))
            arrays = {n: _described(v, places.get(n), aside) for n, v in buffer.arrays.items()}
            flush(aside)  # a record must not outlive its part when a machine goes down
        except BaseException:
            remove(aside, inside=self.folder)
            raise
        aside.rename(path)
        file = path.relative_to(self.folder)
        record = {
            "file": file.as_posix(),
            "start": buffer.examples.start,
            "stop": buffer.examples.stop,
            "bytes": folder_bytes(path),
            "arrays": arrays,
            "files": {(file / name).as_posix(): found for name, found in files.items()},
        }
        write_json(self._record(buffer.number), record)
        self._release(buffer.number)

    def _is_written(self, number: int) -> bool:
        """Whether a part is recorded, and its files are there with their sizes."""
        try:
            files = self._recorded(number)["files"]
            return all((self.folder / name).stat().st_size == files[name]["bytes"] for name in files)
        except (OSError, ValueError, KeyError):
            return False  # a record that a machine that went down has left empty counts as none

    def _recorded(self, number: int) -> dict[str, Any]:
        return json.loads(self._record(number).read_text("utf-8"))

    def _record(self, number: int) -> Path:
        return self.scratch / f"{number:05d}.json"

    def _claim(self, number: int) -> bool:
        """Whether this process may write a part: it holds the part's lock until the record is there."""
        lock = os.open(self.scratch / f"{number:05d}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        if try_lock(lock) and not self._is_written(number):
            self._claims[number] = lock
            return True
        os.close(lock)
        return False

    def _release(self, number: int) -> None:
        os.close(self._claims.pop(number))


def _described(values: np.ndarray, place: Place | None, part: Path) -> dict[str, Any]:
    """What the manifest says of an array of a part: the checksum of each layer's values and, where they lie
    in a file as they are, which file of the part that is and where in it the first layer begins."""
    described: dict[str, Any] = {"checksums": [checksum_of(layer) for layer in values]}
    if place is None:
        return described
    return described | {"file": place.file.relative_to(part).as_posix(), "offset": place.offset}


def _known(places: Mapping[str, Place], arrays: Mapping[str, np.ndarray]) -> Known:
    """By file, what lies where in it."""
    known: dict[Path, list[tuple[int, np.ndarray]]] = {}
    for name, place in sorted(places.items(), key=lambda item: item[1].offset):
        known.setdefault(place.file, []).append((place.offset, arrays[name]))
    return known


def _give_way() -> None:
    """Let this thread run where the forward pass leaves a core idle: parallel kernels wait for their
    slowest thread, so a writer on one of two cores would cost them both."""
    if sys.platform == "linux":  # elsewhere this would be about the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
