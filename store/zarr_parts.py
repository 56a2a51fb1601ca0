"""A part as a Zarr v3 group: one shard per array, so five files however many layers there are."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import zarr

from store.parts import ChunkMap, Chunks, PartFormat

INDEX_ENTRY = 16  # bytes: offset and length of a chunk, little-endian uint64
INDEX_CHECKSUM = 4  # bytes: crc32c after the entries


class ZarrParts(PartFormat):
    """`part.zarr/{hidden,attention}`; chunks hold one layer, a shard holds all chunks of an array."""

    suffix = ".zarr"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], chunks: Mapping[str, Chunks]) -> None:
        group = zarr.open_group(path, mode="w-", zarr_format=3)
        for name, values in arrays.items():
            array = group.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=chunks[name],
                shards=_shard(values.shape, chunks[name]),
                compressors=None,
                filters=None,
                fill_value=0,
                config={"write_empty_chunks": True},
            )
            array[...] = values

    def locate(self, path: Path) -> dict[str, ChunkMap]:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        return {name: _locate(path / name / "c" / "0" / "0" / "0", array) for name, array in group.arrays()}


def _shard(shape: tuple[int, ...], chunk: Chunks) -> tuple[int, ...]:
    return tuple(math.ceil(size / step) * step for size, step in zip(shape, chunk, strict=True))


def _locate(file: Path, array: zarr.Array) -> ChunkMap:
    """Read the index at the end of a shard: offset and length of every chunk, in C order."""
    chunk, shape = array.chunks, array.shape
    counts = [math.ceil(size / step) for size, step in zip(shape, chunk, strict=True)]
    entries = math.prod(counts)
    with file.open("rb") as stream:
        stream.seek(-(entries * INDEX_ENTRY + INDEX_CHECKSUM), 2)
        index = np.frombuffer(stream.read(entries * INDEX_ENTRY), "<u8").reshape(entries, 2)
    offsets = index[:, 0].astype(np.int64).reshape(counts[0], -1)
    return ChunkMap(file, np.dtype(array.dtype), shape, chunk, offsets)
