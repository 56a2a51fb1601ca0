"""A part on disk: a contiguous range of examples, written by a format, read straight from its bytes.

Chunks are stored as they are in memory. So a format only says where in which file each chunk begins;
reading is one system call per run of bytes, into the place where the values are wanted.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from store.errors import StoreError
from store.layout import RAGGED_AXIS

Chunks = tuple[int, int, int]


@dataclass(frozen=True)
class ChunkMap:
    """Where the chunks of one array lie: byte offsets int64 [layers, pieces of the ragged axis] in `file`."""

    file: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    offsets: np.ndarray


class Part:
    """An open part; a read touches the bytes of one layer only."""

    def __init__(self, maps: Mapping[str, ChunkMap]) -> None:
        self._maps = dict(maps)
        self._files = {path: os.open(path, os.O_RDONLY) for path in {m.file for m in maps.values()}}

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Layer number `layer` of array `name`, cut to start..stop along its ragged axis.

        hidden gives [tokens, dim], attention [heads, pairs], in the dtype on disk; `out` is filled if it
        is given. StoreError if the file ends too early.
        """
        found = self._maps[name]
        along = RAGGED_AXIS[name] - 1
        if out is None:
            shape = (stop - start, found.shape[2]) if along == 0 else (found.shape[1], stop - start)
            out = np.empty(shape, found.dtype)
        rows, item = found.chunk[1 + along], found.dtype.itemsize
        for piece in range(start // rows, -(-stop // rows)):
            first, last = max(start, piece * rows), min(stop, (piece + 1) * rows)
            begin, skip = int(found.offsets[layer, piece]), first - piece * rows
            if along == 0:
                self._fill(
                    found.file, out[first - start : last - start], begin + skip * found.shape[2] * item
                )
            elif last - first == rows == stop - start:
                self._fill(found.file, out, begin)
            else:
                for head in range(found.shape[1]):
                    row = out[head, first - start : last - start]
                    self._fill(found.file, row, begin + (head * rows + skip) * item)
        return out

    def _fill(self, file: Path, out: np.ndarray, position: int) -> None:
        """Fill the contiguous `out` with the bytes of a file from `position` on."""
        target = memoryview(out.view(np.uint8).reshape(-1))  # type: ignore[arg-type]
        while target:
            count = os.preadv(self._files[file], [target], position)
            if count == 0:
                raise StoreError(f"{file} ends too early. See: microtome cache verify")
            target, position = target[count:], position + count

    def close(self) -> None:
        """Let go of the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __del__(self) -> None:
        self.close()


class PartFormat(ABC):
    """How a part is written, and where its chunks are. One class per format, one contract for all."""

    suffix: str

    @abstractmethod
    def write(self, path: Path, arrays: Mapping[str, np.ndarray], chunks: Mapping[str, Chunks]) -> None:
        """Write all arrays of a part to `path`, a name that does not exist yet, uncompressed."""

    @abstractmethod
    def locate(self, path: Path) -> dict[str, ChunkMap]:
        """Where the chunks of every array are; StoreError if the part cannot be read."""

    def open(self, path: Path) -> Part:
        """Open a part for reading."""
        try:
            return Part(self.locate(path))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise StoreError(f"cannot open part {path}: {error}. See: microtome cache verify") from None
