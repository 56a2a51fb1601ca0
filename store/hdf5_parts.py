"""A part as one HDF5 file."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from store.parts import LayerMap, PartFormat


class Hdf5Parts(PartFormat):
    """`part.h5` with datasets `hidden` and `attention`; a chunk is one layer, written without a copy."""

    suffix = ".h5"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        with h5py.File(path, "w-", libver="latest") as file:
            for name, values in arrays.items():
                dataset = file.create_dataset(
                    name, shape=values.shape, dtype=values.dtype, chunks=(1, *values.shape[1:])
                )
                for layer, chunk in enumerate(values):
                    dataset.id.write_direct_chunk((layer, 0, 0), chunk)

    def locate(self, path: Path) -> dict[str, LayerMap]:
        with h5py.File(path, "r") as file:
            return {name: _locate(path, dataset) for name, dataset in file.items()}


def _locate(path: Path, dataset: h5py.Dataset) -> LayerMap:
    offsets = np.empty(dataset.shape[0], np.int64)
    for number in range(dataset.id.get_num_chunks()):
        chunk = dataset.id.get_chunk_info(number)
        offsets[chunk.chunk_offset[0]] = chunk.byte_offset
    return LayerMap(path, dataset.dtype, dataset.shape, offsets)
