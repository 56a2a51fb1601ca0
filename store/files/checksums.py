"""Checksums of what is on disk: XXH3 (128 bit), which guards against damage, not malice."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import xxhash

from microtome.store.errors import StoreError

BLOCK = 1 << 20  # bytes read at a time

ArraysByFile = Mapping[Path, Sequence[tuple[int, np.ndarray]]]  # file -> (offset, array), by offset


class FileRecord(TypedDict):
    """What a manifest says of a file."""

    bytes: int
    checksum: str


def checksum_of(data: Any) -> str:
    """Of bytes, or of the values of a contiguous array."""
    if isinstance(data, np.ndarray):
        data = memoryview(data.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    return xxhash.xxh3_128_hexdigest(data)


def checksum(file: Path, in_memory: Sequence[tuple[int, np.ndarray]] = ()) -> str:
    """Of a file. The bytes of the arrays `in_memory`, by ascending offset, are not read back."""
    total = xxhash.xxh3_128()
    size = file.stat().st_size
    with file.open("rb", buffering=0) as stream:
        for offset, values in [*in_memory, (size, np.empty(0, np.uint8))]:
            while stream.tell() < offset:
                block = stream.read(min(BLOCK, offset - stream.tell()))
                if not block:
                    raise StoreError(f"{file} ends too early")
                total.update(block)
            total.update(memoryview(values.reshape(-1).view(np.uint8)))  # type: ignore[arg-type]
            stream.seek(offset + values.nbytes)
    return total.hexdigest()


def record_files(folder: Path, below: Path, in_memory: ArraysByFile | None = None) -> dict[str, FileRecord]:
    """The record of the file `below`, or of all files below it, by their names relative to `folder`."""
    in_memory = in_memory or {}
    files = [below] if below.is_file() else sorted(p for p in below.rglob("*") if p.is_file())
    return {
        file.relative_to(folder).as_posix(): FileRecord(
            bytes=file.stat().st_size, checksum=checksum(file, in_memory.get(file, ()))
        )
        for file in files
    }


Stamp = tuple[int, int, int, int]


def stamp(status: os.stat_result) -> Stamp:
    """What changes when a file is written to or another takes its place."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
