"""A part as one HDF5 file."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from microtome.store.cache.formats.part import PartFormat, Place, chunk_shape
from microtome.store.files.operations import ALIGNMENT, write_bytes

FILTERS = {
    "lz4": hdf5plugin.Blosc(cname="lz4", clevel=1, shuffle=hdf5plugin.Blosc.BITSHUFFLE),
    "zstd": hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE),
}


class Hdf5Parts(PartFormat):
    """`part.h5` with datasets `hidden` and `attention`, contiguous unless compressed.

    h5py makes room for the values of a contiguous dataset; they are written there without a copy.
    """

    suffix = ".h5"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], compression: str) -> dict[str, Place]:
        if compression != "none":
            path.write_bytes(_compressed(arrays, compression))
            return {}
        align = {"alignment_threshold": ALIGNMENT, "alignment_interval": ALIGNMENT}
        with h5py.File(path, "w-", libver="latest", **align) as file:
            places = {name: Place(path, _make_room(file, name, values)) for name, values in arrays.items()}
        for name, place in places.items():
            write_bytes(path, place.offset, arrays[name])
        return places

    def read(self, path: Path, names: Collection[str]) -> Mapping[str, Any]:
        file = h5py.File(path, "r")
        return {name: file[name] for name in names}


def _compressed(arrays: Mapping[str, np.ndarray], compression: str) -> bytes:
    """An HDF5 file made in memory: the library crashes if a disk is full when it closes a file."""
    with h5py.File("part", "w", libver="latest", driver="core", backing_store=False) as file:
        for name, values in arrays.items():
            chunks = chunk_shape(name, values.shape, values.itemsize)
            file.create_dataset(name, data=values, chunks=chunks, **FILTERS[compression])
        file.flush()
        return file.id.get_file_image()


def _make_room(file: h5py.File, name: str, values: np.ndarray) -> int:
    """Create a dataset whose values are to be written by someone else; the offset in the file."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)  # equal values make equal files
    space = h5py.h5s.create_simple(values.shape)
    dtype = h5py.h5t.py_create(values.dtype)
    return int(h5py.h5d.create(file.id, name.encode(), dtype, space, plan).get_offset())


PARTS = Hdf5Parts()
