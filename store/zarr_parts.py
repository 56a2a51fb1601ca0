"""A part as a Zarr v3 group: one shard per array, so five files however many layers there are."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import zarr

from store.errors import StoreError
from store.layout import RAGGED_AXIS
from store.parts import Chunks, Part, PartFormat


class ZarrParts(PartFormat):
    """`part.zarr/{hidden,attention}`; chunks hold one layer, a shard holds all chunks of an array."""

    suffix = ".zarr"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], chunks: Mapping[str, Chunks]) -> None:
        group = zarr.open_group(path, mode="w-", zarr_format=3)
        for name, values in arrays.items():
            shard = tuple(
                math.ceil(size / chunk) * chunk
                for size, chunk in zip(values.shape, chunks[name], strict=True)
            )
            array = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=chunks[name],
                shards=shard,
                compressors=None,
                filters=None,
                fill_value=0,
                config={"write_empty_chunks": True},
            )
            array[...] = values

    def open(self, path: Path) -> Part:
        try:
            return _ZarrPart(zarr.open_group(path, mode="r", zarr_format=3))
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"cannot open part {path}: {error}. See: microtome cache verify") from None


class _ZarrPart(Part):
    def __init__(self, group: zarr.Group) -> None:
        self._arrays = dict(group.arrays())

    def read(self, name: str, layer: int, start: int, stop: int) -> np.ndarray:
        window = (slice(None), slice(start, stop)) if RAGGED_AXIS[name] == 2 else (slice(start, stop),)
        return np.asarray(self._arrays[name][(layer, *window)])

    def close(self) -> None:
        self._arrays = {}
