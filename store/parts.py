"""A part on disk: a contiguous range of examples, written by a format.

Uncompressed, a layer of an array is stored as it lies in memory. So a format only says in which file and
where each layer begins, and a read is a system call into the place where the values are wanted.
Compressed, a layer is cut into chunks along its ragged axis, and the format's own library reads them.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from store.checksums import Known
from store.errors import StoreError
from store.layout import RAGGED_AXIS

COMPRESSIONS = ("none", "lz4", "zstd")
CHUNK_BYTES = 1 << 20  # of a compressed chunk: what one read has to unpack


class Part(Protocol):
    """An open part; a read touches the bytes of one layer only."""

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Layer number `layer` of array `name`, cut to start..stop along its ragged axis.

        hidden gives [tokens, dim], attention [heads, pairs], in the dtype on disk; `out` is filled if it
        is given. StoreError if the bytes are not there or cannot be unpacked.
        """


class PartFormat(ABC):
    """How a part is written and opened. One class per format, one contract for all."""

    suffix: str

    @abstractmethod
    def write(self, path: Path, arrays: Mapping[str, np.ndarray], compression: str) -> Known:
        """Write the arrays [layer, ...] of a part to `path`, a name that does not exist yet.

        Returns where in which file they lie as they are, for the checksum.
        """

    @abstractmethod
    def read(self, path: Path) -> Part:
        """What `open` does; any error of the format's library may come out."""

    def open(self, path: Path) -> Part:
        """Open a part for reading; StoreError if it cannot be."""
        try:
            return self.read(path)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise StoreError(f"cannot open part {path}: {error}. See: microtome cache verify") from None


@dataclass(frozen=True)
class LayerMap:
    """Where the layers of one array [layer, ...] begin: byte offsets int64 [layers] in `file`."""

    file: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offsets: np.ndarray


class PlainPart:
    """A part whose layers lie on disk as they lay in memory."""

    def __init__(self, maps: Mapping[str, LayerMap]) -> None:
        self._maps = dict(maps)
        self._files = {path: os.open(path, os.O_RDONLY) for path in {m.file for m in maps.values()}}

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        found = self._maps[name]
        rows, columns = found.shape[1:]
        offset, item = int(found.offsets[layer]), found.dtype.itemsize
        if RAGGED_AXIS[name] == 1:
            out = np.empty((stop - start, columns), found.dtype) if out is None else out
            self._fill(found.file, out, offset + start * columns * item)
            return out
        out = np.empty((rows, stop - start), found.dtype) if out is None else out
        if stop - start == columns:
            self._fill(found.file, out, offset)
            return out
        for head in range(rows):
            self._fill(found.file, out[head], offset + (head * columns + start) * item)
        return out

    def _fill(self, file: Path, out: np.ndarray, position: int) -> None:
        """Fill the contiguous `out` with the bytes of a file from `position` on."""
        target = memoryview(out.view(np.uint8).reshape(-1))  # type: ignore[arg-type]
        while target:
            count = os.preadv(self._files[file], [target], position)
            if count == 0:
                raise StoreError(f"{file} ends too early. See: microtome cache verify")
            target, position = target[count:], position + count

    def __del__(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])


class CompressedPart:
    """A part whose arrays [layer, ...] are read by the library that wrote them."""

    def __init__(self, path: Path, arrays: Mapping[str, Any]) -> None:
        self._path = path
        self._arrays = arrays

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        window = slice(start, stop)
        array = self._arrays[name]
        try:
            values = array[layer, window] if RAGGED_AXIS[name] == 1 else array[layer, :, window]
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise StoreError(f"cannot unpack {self._path}: {error}. See: microtome cache verify") from None
        if out is None:
            return values
        out[:] = values
        return out


def chunk_shape(name: str, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The shape of a compressed chunk: one layer, all of the fixed axis, some of the ragged one."""
    chunk = [1, *shape[1:]]
    axis = RAGGED_AXIS[name]
    fixed = shape[3 - axis] * itemsize  # the other one of axes 1 and 2
    chunk[axis] = min(shape[axis], max(1, CHUNK_BYTES // fixed))
    return tuple(chunk)
