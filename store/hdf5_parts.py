"""A part as one HDF5 file."""

import math
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from store.parts import ChunkMap, Chunks, PartFormat


class Hdf5Parts(PartFormat):
    """`part.h5` with datasets `hidden` and `attention`, chunked by layer."""

    suffix = ".h5"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], chunks: Mapping[str, Chunks]) -> None:
        with h5py.File(path, "w-", libver="latest") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, chunks=chunks[name])

    def locate(self, path: Path) -> dict[str, ChunkMap]:
        with h5py.File(path, "r") as file:
            return {name: _locate(path, dataset) for name, dataset in file.items()}


def _locate(path: Path, dataset: h5py.Dataset) -> ChunkMap:
    counts = [math.ceil(size / step) for size, step in zip(dataset.shape, dataset.chunks, strict=True)]
    offsets = np.full((counts[0], counts[1] * counts[2]), -1, np.int64)
    for number in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(number)
        layer, *rest = (at // step for at, step in zip(info.chunk_offset, dataset.chunks, strict=True))
        offsets[layer, max(rest)] = info.byte_offset
    return ChunkMap(path, dataset.dtype, dataset.shape, dataset.chunks, offsets)
