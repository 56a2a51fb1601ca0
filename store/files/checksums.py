"""Checksums of what is on disk: XXH3 (128 bit), which guards against damage, not malice."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import xxhash

from microtome.store.errors import StoreError

BLOCK = 1 << 20  # bytes read at a time

Known = Mapping[Path, Sequence[tuple[int, np.ndarray]]]  # by file: arrays and the offsets they lie at


class FileRecord(TypedDict):
    """What a manifest says of a file."""

    bytes: int
    checksum: str


def checksum_of(data: Any) -> str:
    """Of bytes, or of the values of a contiguous array."""
    if isinstance(data, np.ndarray):
        data = memoryview(data.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    return xxhash.xxh3_128_hexdigest(data)


def checksum(file: Path, known: Sequence[tuple[int, np.ndarray]] = ()) -> str:
    """Of a file. What is `known` to lie in it, arrays by ascending offset, is not read back."""
    total = xxhash.xxh3_128()
    size = file.stat().st_size
    with file.open("rb", buffering=0) as stream:
        for offset, values in [*known, (size, np.empty(0, np.uint8))]:
            while stream.tell() < offset:
                block = stream.read(min(BLOCK, offset - stream.tell()))
                if not block:
                    raise StoreError(f"{file} ends too early")
                total.update(block)
            total.update(memoryview(values.reshape(-1).view(np.uint8)))  # type: ignore[arg-type]
            stream.seek(offset + values.nbytes)
    return total.hexdigest()


def record_files(folder: Path, below: Path, known: Known | None = None) -> dict[str, FileRecord]:
    """The record of the file `below`, or of all files below it, by their names relative to `folder`."""
    known = known or {}
    files = [below] if below.is_file() else sorted(p for p in below.rglob("*") if p.is_file())
    return {
        file.relative_to(folder).as_posix(): FileRecord(
            bytes=file.stat().st_size, checksum=checksum(file, known.get(file, ()))
        )
        for file in files
    }


Stamp = tuple[int, int, int, int]


def stamp(found: os.stat_result) -> Stamp:
    """What changes when a file is written to or another takes its place."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
