"""A part as a Zarr v3 group: one shard per array, so five files however many layers there are.

Uncompressed, zarr writes the metadata; the shard is the array as it lies in memory and, at its end, the
index that the sharding codec asks for. Any Zarr v3 reader opens it; a test reads it back with zarr's own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from zarr.codecs import BloscCodec

from store.checksums import Known
from store.files import write_bytes
from store.parts import CompressedPart, LayerMap, Part, PartFormat, PlainPart, chunk_shape

INDEX_ENTRY = 16  # bytes: offset and length of a chunk, little-endian uint64
INDEX_CHECKSUM = 4  # bytes: crc32c of the entries, little-endian
CODECS = {
    "lz4": BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
    "zstd": BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
}


class ZarrParts(PartFormat):
    """`part.zarr/{hidden,attention}`; a shard is the whole array, an uncompressed chunk one layer."""

    suffix = ".zarr"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], compression: str) -> Known:
        group = zarr.open_group(path, mode="w-", zarr_format=3)
        known = {}
        for name, values in arrays.items():
            if compression == "none":
                _create(group, name, values, (1, *values.shape[1:]), None)
                known[_shard(path, name)] = _write_shard(_shard(path, name), values)
            else:
                chunks = chunk_shape(name, values.shape, values.itemsize)
                shards = tuple(-(-n // c) * c for n, c in zip(values.shape, chunks, strict=True))
                _create(group, name, values, chunks, CODECS[compression], shards)[:] = values
        return known

    def read(self, path: Path) -> Part:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        arrays = dict(group.arrays())
        if any(array.compressors for array in arrays.values()):
            return CompressedPart(path, arrays)
        return PlainPart({name: _locate(_shard(path, name), array) for name, array in arrays.items()})


def _create(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    chunks: tuple[int, ...],
    codec: Any,
    shards: tuple[int, ...] | None = None,
) -> zarr.Array:
    return group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        shards=shards or values.shape,
        compressors=codec,
        filters=None,
        fill_value=0,
    )


def _write_shard(shard: Path, values: np.ndarray) -> list[tuple[int, np.ndarray]]:
    shard.parent.mkdir(parents=True)
    shard.touch(exist_ok=False)
    write_bytes(shard, 0, values)
    write_bytes(shard, values.nbytes, _index(values))
    return [(0, values)]


def _shard(path: Path, name: str) -> Path:
    return path / name / "c" / "0" / "0" / "0"


def _index(values: np.ndarray) -> np.ndarray:
    """The index of a shard whose chunks are the layers, one after the other: uint8 [bytes]."""
    size = values[0].nbytes
    entries = np.array([(layer * size, size) for layer in range(len(values))], "<u8").tobytes()
    checksum = google_crc32c.value(entries).to_bytes(INDEX_CHECKSUM, "little")
    return np.frombuffer(entries + checksum, np.uint8)


def _locate(file: Path, array: zarr.Array) -> LayerMap:
    layers = array.shape[0]
    with file.open("rb") as stream:
        stream.seek(-(layers * INDEX_ENTRY + INDEX_CHECKSUM), 2)
        index = np.frombuffer(stream.read(layers * INDEX_ENTRY), "<u8").reshape(layers, 2)
    return LayerMap(file, np.dtype(array.dtype), array.shape, index[:, 0].astype(np.int64))
