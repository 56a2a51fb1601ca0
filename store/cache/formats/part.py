"""A part on disk: a contiguous range of examples, written by a format.

Uncompressed, a layer of an array is stored as it lies in memory. So a format only says in which file and
where the first layer begins, and a read is a system call into the place where the values are wanted.
Compressed, a layer is cut into chunks along its ragged axis, and the format's own library reads them.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from microtome.store.cache.layout import RAGGED_AXIS
from microtome.store.errors import StoreError

COMPRESSIONS = ("none", "lz4", "zstd")
CHUNK_BYTES = 1 << 20  # of a compressed chunk: what one read has to unpack
COPIED_BYTES = 16 << 20  # at a time, where what is read has to be copied into its place
NEXT = "See: microtome store verify"
_SEEKING = threading.Lock()  # where reading takes two calls, no other thread may come between


class Part(Protocol):
    """An open part; a read touches the bytes of one layer only."""

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Layer number `layer` of array `name`, cut to start..stop along its ragged axis.

        hidden gives [tokens, dim], attention [heads, pairs], in the dtype on disk; `out` is filled if it
        is given. StoreError if the bytes are not there or cannot be unpacked.
        """


@dataclass(frozen=True)
class Place:
    """Where an array [layer, ...] lies as it is: from byte `offset` of `file` on."""

    file: Path
    offset: int


class PartFormat(ABC):
    """How a part is written, and opened if it is compressed. One class per format, one contract for all."""

    suffix: str

    @abstractmethod
    def write(self, path: Path, arrays: Mapping[str, np.ndarray], compression: str) -> dict[str, Place]:
        """Write the arrays [layer, ...] of a part to `path`, a name that does not exist yet.

        Returns where they lie as they are; nothing of a compressed part does.
        """

    @abstractmethod
    def read(self, path: Path, names: Collection[str]) -> Mapping[str, Any]:
        """Arrays of a compressed part, to be indexed; any error of the format's library may come out."""

    def open(self, path: Path, names: Collection[str]) -> "CompressedPart":
        """Open a compressed part that has arrays of these names; StoreError if it cannot be."""
        try:
            return CompressedPart(path, self.read(path, names))
        except Exception as error:  # the libraries raise what they like at bytes that are no part
            raise StoreError(f"cannot open part {path}: {_first_line(error)}. {NEXT}") from None


class PlainPart:
    """A part whose layers lie on disk as they lay in memory: arrays of these shapes and dtypes at these
    places."""

    def __init__(
        self,
        places: Mapping[str, Place],
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, np.dtype],
    ) -> None:
        self._places = dict(places)
        self._shapes = dict(shapes)
        self._dtypes = dict(dtypes)
        self._files: dict[Path, int] = {}
        for place in places.values():
            if place.file not in self._files:
                self._files[place.file] = _opened(place.file)

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        place, (_, rows, columns), dtype = self._places[name], self._shapes[name], self._dtypes[name]
        item = dtype.itemsize
        offset = place.offset + layer * rows * columns * item
        if RAGGED_AXIS[name] == 1:
            out = np.empty((stop - start, columns), dtype) if out is None else out
            self._fill(place.file, out, offset + start * columns * item)
            return out
        out = np.empty((rows, stop - start), dtype) if out is None else out
        if stop - start == columns:
            self._fill(place.file, out, offset)
            return out
        for head in range(rows):
            self._fill(place.file, out[head], offset + (head * columns + start) * item)
        return out

    def _fill(self, file: Path, out: np.ndarray, position: int) -> None:
        """Fill the contiguous `out` with the bytes of a file from `position` on."""
        target = memoryview(out.view(np.uint8).reshape(-1))  # type: ignore[arg-type]
        while target:
            try:
                count = _read_at(self._files[file], target, position)
            except OSError as error:
                raise StoreError(f"cannot read {file}: {error.strerror}. {NEXT}") from None
            if count == 0:
                raise StoreError(f"{file} ends too early. {NEXT}")
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
        try:
            array = self._arrays[name]
            values = array[layer, window] if RAGGED_AXIS[name] == 1 else array[layer, :, window]
            if out is None:
                return np.ascontiguousarray(values)
            out[:] = values
        except Exception as error:  # the libraries raise what they like at bytes that are no part
            raise StoreError(f"cannot unpack {self._path}: {_first_line(error)}. {NEXT}") from None
        return out


def _opened(file: Path) -> int:
    try:
        return os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # Windows would change line ends
    except OSError as error:
        raise StoreError(f"cannot open {file}: {error.strerror}. {NEXT}") from None


def _read_at(file: int, target: memoryview, position: int) -> int:
    """Read bytes of an open file into `target`, from `position` on; how many. Windows has no call for it."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [target], position)
    with _SEEKING:
        os.lseek(file, position, os.SEEK_SET)
        values = os.read(file, min(len(target), COPIED_BYTES))
    target[: len(values)] = values
    return len(values)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def chunk_shape(name: str, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The shape of a compressed chunk: one layer, all of the fixed axis, some of the ragged one."""
    chunk = [1, *shape[1:]]
    axis = RAGGED_AXIS[name]
    fixed = shape[3 - axis] * itemsize  # the other one of axes 1 and 2
    chunk[axis] = min(shape[axis], max(1, CHUNK_BYTES // fixed))
    return tuple(chunk)
