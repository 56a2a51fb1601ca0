"""A part as a Zarr v3 group: one shard per array, so five files however many layers there are.

Uncompressed, zarr writes the metadata; the shard is the array as it lies in memory and, at its end, the
index that the sharding codec asks for. Any Zarr v3 reader opens it; a test reads it back with zarr's own.
"""

import atexit
import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.core import sync

from microtome.store.cache.formats.part import PartFormat, Place, chunk_shape
from microtome.store.files.operations import write_bytes

INDEX_CHECKSUM = 4  # bytes: crc32c of the entries, little-endian
CODECS = {
    "lz4": BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
    "zstd": BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
}


class ZarrParts(PartFormat):
    """`part.zarr/{hidden,attention}`; a shard is the whole array, an uncompressed chunk one layer."""

    suffix = ".zarr"

    def write(self, path: Path, arrays: Mapping[str, np.ndarray], compression: str) -> dict[str, Place]:
        _stop_zarr_before_exit()
        group = zarr.open_group(path, mode="w-", zarr_format=3)
        places = {}
        for name, values in arrays.items():
            if compression == "none":
                _create(group, name, values, (1, *values.shape[1:]), None)
                places[name] = _write_shard(_shard(path, name), values)
            else:
                chunks = chunk_shape(name, values.shape, values.itemsize)
                shards = tuple(-(-n // c) * c for n, c in zip(values.shape, chunks, strict=True))
                _create(group, name, values, chunks, CODECS[compression], shards)[:] = values
        return places

    def read(self, path: Path, names: Collection[str]) -> Mapping[str, Any]:
        _stop_zarr_before_exit()
        return {name: zarr.open_array(path / name, mode="r", zarr_format=3) for name in names}


@functools.cache
def _stop_zarr_before_exit() -> None:
    """Wait for zarr's event loop when the program ends.

    zarr waits a fifth of a second and then closes the loop even if it still runs, which prints a traceback on
    a busy machine. Exit functions run last in, first out, so this one runs before that of zarr.
    """
    atexit.register(_stop_event_loop)


def _stop_event_loop() -> None:
    loop, thread = sync.loop[0], sync.iothread[0]
    if loop is not None and thread is not None and not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


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


def _write_shard(shard: Path, values: np.ndarray) -> Place:
    shard.parent.mkdir(parents=True)
    shard.touch(exist_ok=False)
    write_bytes(shard, 0, values)
    write_bytes(shard, values.nbytes, _index(values))
    return Place(shard, 0)


def _shard(path: Path, name: str) -> Path:
    return path / name / "c" / "0" / "0" / "0"


def _index(values: np.ndarray) -> np.ndarray:
    """The index of a shard whose chunks are the layers, one after the other: uint8 [bytes]."""
    size = values[0].nbytes
    entries = np.array([(layer * size, size) for layer in range(len(values))], "<u8").tobytes()
    checksum = google_crc32c.value(entries).to_bytes(INDEX_CHECKSUM, "little")
    return np.frombuffer(entries + checksum, np.uint8)


PARTS = ZarrParts()
