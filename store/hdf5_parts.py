"""A part as one HDF5 file."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from store.errors import StoreError
from store.layout import RAGGED_AXIS
from store.parts import Chunks, Part, PartFormat


class Hdf5Parts(PartFormat):
    """`part.h5` with datasets `hidden` and `attention`, chunked by layer."""

    suffix = ".h5"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], chunks: Mapping[str, Chunks]) -> None:
        with h5py.File(path, "w-", libver="latest") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, chunks=chunks[name])

    def open(self, path: Path) -> Part:
        try:
            return _Hdf5Part(h5py.File(path, "r"))
        except OSError as error:
            raise StoreError(f"cannot open part {path}: {error}. See: microtome cache verify") from None


class _Hdf5Part(Part):
    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def read(self, name: str, layer: int, start: int, stop: int) -> np.ndarray:
        dataset = self._file[name]
        if RAGGED_AXIS[name] == 2:
            return dataset[layer, :, start:stop]
        return dataset[layer, start:stop]

    def close(self) -> None:
        self._file.close()
