"""A part as one HDF5 file."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from store.parts import CompressedPart, LayerMap, Part, PartFormat, PlainPart, chunk_shape

FILTERS = {
    "lz4": hdf5plugin.Blosc(cname="lz4", clevel=1, shuffle=hdf5plugin.Blosc.BITSHUFFLE),
    "zstd": hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE),
}


class Hdf5Parts(PartFormat):
    """`part.h5` with datasets `hidden` and `attention`; an uncompressed chunk is one layer, written without
    a copy."""

    suffix = ".h5"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], compression: str) -> None:
        with h5py.File(path, "w-", libver="latest") as file:
            for name, values in arrays.items():
                if compression == "none":
                    _write_layers(file, name, values)
                else:
                    chunks = chunk_shape(name, values.shape, values.itemsize)
                    file.create_dataset(name, data=values, chunks=chunks, **FILTERS[compression])

    def read(self, path: Path) -> Part:
        file = h5py.File(path, "r")
        datasets = {name: file[name] for name in file}
        if any(dataset.id.get_create_plist().get_nfilters() for dataset in datasets.values()):
            return CompressedPart(path, datasets)
        with file:
            return PlainPart({name: _locate(path, dataset) for name, dataset in datasets.items()})


def _write_layers(file: h5py.File, name: str, values: np.ndarray) -> None:
    dataset = file.create_dataset(name, shape=values.shape, dtype=values.dtype, chunks=(1, *values.shape[1:]))
    for layer, chunk in enumerate(values):
        dataset.id.write_direct_chunk((layer, 0, 0), chunk)


def _locate(path: Path, dataset: h5py.Dataset) -> LayerMap:
    offsets = np.empty(dataset.shape[0], np.int64)
    for number in range(dataset.id.get_num_chunks()):
        chunk = dataset.id.get_chunk_info(number)
        offsets[chunk.chunk_offset[0]] = chunk.byte_offset
    return LayerMap(path, dataset.dtype, dataset.shape, offsets)
