"""Writes an activation cache part by part; several processes may share the work.

A part is filled in memory that was allocated once, of the size of the largest part, and written by a
background thread while the next is filled. What is on disk is recorded in a scratch folder, so that a
writer that comes later, or another at the same time, does not do it again.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from microtome.store.cache.description import (
    CacheDescription,
    CachedSplit,
    StoredArray,
    StoredPart,
    part_from_json,
    part_to_json,
)
from microtome.store.cache.examples import EXAMPLES, Examples
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import Place
from microtome.store.cache.layout import (
    ATTENTION,
    PART_BYTES,
    Layout,
    plan_parts,
    refuse_non_finite,
    starts,
)
from microtome.store.cache.token_rows import TokenRows
from microtome.store.errors import StoreError
from microtome.store.files.checksums import ArraysByFile, FileRecord, checksum_of, record_files
from microtome.store.files.locks import lock_path
from microtome.store.files.operations import ALIGNMENT, aligned_memory, flush, folder_bytes, write_json
from microtome.store.files.removal import remove

Allocate = Callable[[int], np.ndarray]  # bytes -> uint8 [bytes]
BUFFERS = 2  # one is filled while the other is written
FORM = "form.json"  # in the scratch folder: how the parts that are there lie on disk


@dataclass(frozen=True)
class Form:
    """How the parts of a cache lie on disk; a reader returns the same arrays whatever it is."""

    format: str
    compression: str
    part_bytes: int
    ends: tuple[int, ...] = ()  # the example after the last of each part; from `part_bytes` if there is none


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
        return self.arrays[name][:, :, window] if name == ATTENTION else self.arrays[name][:, window]


class CacheWriter:
    """Writes the parts of a cache that nobody has written and nobody is writing.

        with CacheWriter(folder, scratch, layout, examples) as writer:
            for buffer in writer.claims():
                ...fill buffer...
                writer.submit(buffer)
            description, files = writer.finish(split)

    A cache that another writer began goes on in the form that was begun: `form`, whatever is asked for.
    `allocate` gives the memory that parts are filled in (pinned, where a GPU copies into it). `written` is
    told, after each part, of all that another writer needs to go on. `rows` are what is kept of the tokens,
    if not all of them. `ends` are where each part ends, if `part_bytes` is not to decide: caches of the same
    examples that have the same parts can be filled in one pass.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        layout: Layout,
        examples: Examples,
        *,
        rows: TokenRows | None = None,
        part_format: str = "zarr",
        compression: str = "none",
        part_bytes: int = PART_BYTES,
        ends: Sequence[int] = (),
        allocate: Allocate | None = None,
        written: Callable[[Sequence[Path]], None] = lambda paths: None,
    ) -> None:
        self.folder = folder
        self.scratch = scratch
        self.layout = layout
        self.examples = examples
        self.rows = rows
        self._row_counts = examples.lengths if rows is None else rows.counts
        self.form = self._begun(Form(part_format, compression, part_bytes, tuple(ends)))
        self.format = PART_FORMATS[self.form.format]
        self.parts = (
            [range(start, end) for start, end in pairwise((0, *self.form.ends))]
            if self.form.ends
            else plan_parts(
                layout.bytes_per_example(examples.lengths, self._row_counts), self.form.part_bytes
            )
        )
        self._allocate = allocate or aligned_memory
        self._written = written
        self._memory: list[np.ndarray] = []
        self._buffers_given = 0
        self._claims: dict[int, BaseFileLock] = {}  # by number of the part
        self._thread = ThreadPoolExecutor(1, "write")
        self._writing: Future[None] | None = None
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

    def largest_part(self) -> int:
        """Bytes of the largest part in memory."""
        return max(map(self._memory_of, self.parts), default=0)

    def claims(self) -> Iterator[PartBuffer]:
        """Buffers to fill and submit, one after the other: each part that is not on disk and that no other
        process works on."""
        for number in self.missing():
            buffer = self.claim(number)
            if buffer is not None:
                yield buffer

    def claim(self, number: int) -> PartBuffer | None:
        """The buffer of a part, to fill and submit; None if it is on disk or another process works on it. The
        memory of a buffer is used again for the one after the next."""
        if not self._claim(number):
            return None
        if len(self._memory) < BUFFERS:
            largest = max(self._memory_of(self.parts[n]) for n in {number, *self.missing()})
            self._memory.append(self._allocate(largest))
        memory = self._memory[self._buffers_given % BUFFERS]
        self._buffers_given += 1
        return self._buffer(number, memory)

    def submit(self, buffer: PartBuffer, ready: Callable[[], None] = lambda: None) -> None:
        """Write a filled part in the background, once the one before is written; raises what that raised.

        `ready` is called first, in the background too: it returns when the buffer holds its values.
        """
        self.wait()
        self._writing = self._thread.submit(self._write, buffer, ready)

    def wait(self) -> None:
        """Until everything submitted is on disk; raises what writing it raised."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def finish(self, split: CachedSplit) -> tuple[CacheDescription, dict[str, FileRecord]]:
        """Write `examples.npz` and gather the records of the parts.

        Returns the description of the cache, and every file with its size and checksum. StoreError if a part
        is not written.
        """
        self.wait()
        if self.missing():
            raise StoreError(f"parts {self.missing()} of {self.folder} are not written")
        self.examples.save(self.folder / EXAMPLES)
        files = record_files(self.folder, self.folder / EXAMPLES)
        parts = []
        for number in range(len(self.parts)):
            part, _, part_files = self._read_record(number)
            parts.append(part)
            files |= part_files
        description = CacheDescription.of_split(
            split,
            layout=self.layout,
            format=self.form.format,
            compression=self.form.compression,
            examples=len(self.examples.rows),
            tokens=int(self.examples.offsets[-1]),
            parts=tuple(parts),
        )
        return description, files

    def _begun(self, wanted: Form) -> Form:
        """The form of the parts that are there or under way; `wanted`, and a note of it, if this is the first
        writer, or if a machine that went down left the note damaged."""
        path = self.scratch / FORM
        with FileLock(lock_path(path)):
            with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
                begun = Form(**json.loads(path.read_text("utf-8")))
                begun = replace(begun, ends=tuple(begun.ends))
                if begun.format in PART_FORMATS:
                    return begun
            write_json(path, asdict(wanted))
        return wanted

    def _buffer(self, number: int, memory: np.ndarray) -> PartBuffer:
        part = self.parts[number]
        lengths = self.examples.lengths[part.start : part.stop]
        rows = self._row_counts[part.start : part.stop]
        begin, arrays, used = {}, {}, 0
        for name in self.layout.names():
            begin[name] = starts(self.layout.extents(name, lengths, rows))
            shape, dtype = self.layout.shape(name, int(begin[name][-1])), self.layout.stored_dtype(name)
            size = int(np.prod(shape)) * dtype.itemsize
            arrays[name] = memory[used : used + size].view(dtype).reshape(shape)
            used += -(-size // ALIGNMENT) * ALIGNMENT
        return PartBuffer(number, part, arrays, begin)

    def _memory_of(self, part: range) -> int:
        """Bytes that the arrays of a part take, each from an aligned address on."""
        window = slice(part.start, part.stop)
        sizes = self.layout.bytes_per_example(self.examples.lengths[window], self._row_counts[window])
        return int(sizes.sum()) + len(self.layout.names()) * ALIGNMENT

    def _write(self, buffer: PartBuffer, ready: Callable[[], None]) -> None:
        """Put a part on disk, whole: refuses inf and NaN, records its checksum last."""
        ready()
        for name, values in buffer.arrays.items():
            begin, first = buffer.begin[name][:-1], buffer.examples.start
            refuse_non_finite(values, name, self.layout, begin, first)
        path = self.folder / "parts" / f"{buffer.number:05d}{self.format.suffix}"
        aside = path.with_name("." + path.name)
        for suffix in {form.suffix for form in PART_FORMATS.values()}:
            for leftover in (aside.with_suffix(suffix), path.with_suffix(suffix)):
                remove(leftover, inside=self.folder)
        try:
            places = self.format.write(aside, buffer.arrays, self.form.compression)
            files = record_files(aside, aside, _arrays_by_file(places, buffer.arrays))
            arrays = {n: _stored(v, places.get(n), aside) for n, v in buffer.arrays.items()}
            flush(aside)  # a record must not outlive its part when a machine goes down
        except BaseException:
            remove(aside, inside=self.folder)
            raise
        aside.rename(path)
        file = path.relative_to(self.folder)
        part = StoredPart(
            file=file.as_posix(),
            start=buffer.examples.start,
            stop=buffer.examples.stop,
            bytes=folder_bytes(path),
            arrays=arrays,
        )
        part_files = {(file / name).as_posix(): record for name, record in files.items()}
        record = {"part": part_to_json(part), "dtype": self.layout.dtype, "files": part_files}
        write_json(self._record_path(buffer.number), record)
        self._release(buffer.number)
        # A record is listed before its part, so that none is there without it.
        self._written([*sorted(self.scratch.glob("*.json")), self.folder / "parts"])

    def _is_written(self, number: int) -> bool:
        """Whether a part is recorded as it is to be, and its files are there with their sizes."""
        try:
            part, dtype, files = self._read_record(number)
            if dtype != self.layout.dtype:
                return False  # values of another part were beyond that dtype, so this one is done again
            planned = self.parts[number]
            form = planned.start, planned.stop, self.format.suffix
            if (part.start, part.stop, Path(part.file).suffix) != form:
                return False
            return all((self.folder / name).stat().st_size == files[name]["bytes"] for name in files)
        except (OSError, ValueError, KeyError, TypeError):
            return False  # the record may be empty or cut short after a power failure

    def _read_record(self, number: int) -> tuple[StoredPart, str, dict[str, FileRecord]]:
        """What was recorded of a written part: where it lies, its dtype and its files."""
        record = json.loads(self._record_path(number).read_text("utf-8"))
        return part_from_json(record["part"]), record["dtype"], record["files"]

    def _record_path(self, number: int) -> Path:
        return self.scratch / f"{number:05d}.json"

    def _claim(self, number: int) -> bool:
        """Whether this process may write a part: it keeps the part's lock until the record is written."""
        # The lock is taken in this thread and released in the writing thread.
        lock = FileLock(self.scratch / f"{number:05d}.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        if self._is_written(number):
            lock.release()
            return False
        self._claims[number] = lock
        return True

    def _release(self, number: int) -> None:
        self._claims.pop(number).release()


def _stored(values: np.ndarray, place: Place | None, part: Path) -> StoredArray:
    """The description of an array of a part: the checksum of each layer and, if uncompressed, its place."""
    checksums = tuple(checksum_of(layer) for layer in values)
    if place is None:
        return StoredArray(checksums=checksums)
    file = place.file.relative_to(part).as_posix()
    return StoredArray(checksums=checksums, file=file, offset=place.offset)


def _arrays_by_file(places: Mapping[str, Place], arrays: Mapping[str, np.ndarray]) -> ArraysByFile:
    """The uncompressed arrays of each file, by offset; their bytes need not be read back for a checksum."""
    by_file: dict[Path, list[tuple[int, np.ndarray]]] = {}
    for name, place in sorted(places.items(), key=lambda item: item[1].offset):
        by_file.setdefault(place.file, []).append((place.offset, arrays[name]))
    return by_file
