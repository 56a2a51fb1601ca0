"""An uncompressed part on object storage: a layer of it is one range of bytes, fetched when first read."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import numpy as np

from microtome.store.artifacts.contents import Contents
from microtome.store.cache.description import StoredPart
from microtome.store.cache.formats.part import Place, PlainPart
from microtome.store.errors import StoreError
from microtome.store.remote.local_copies import LayerRange, RemoteFiles
from microtome.store.remote.objects import PARALLEL

Shapes = Mapping[str, tuple[int, ...]]
Dtypes = Mapping[str, np.dtype]


class RemotePart:
    """Reads a layer from a local copy of it, which is fetched if it is not here."""

    def __init__(self, remote: RemoteFiles, stored: StoredPart, shapes: Shapes, dtypes: Dtypes) -> None:
        self._remote, self._stored, self._shapes, self._dtypes = remote, stored, shapes, dtypes

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        where = layer_range(self._stored, name, layer, self._shapes[name], self._dtypes[name])
        shapes = {name: (1, *self._shapes[name][1:])}
        try:
            part = PlainPart({name: Place(self._remote.fetch_layer(where), 0)}, shapes, self._dtypes)
        except StoreError:  # forgotten by another process a moment ago
            part = PlainPart({name: Place(self._remote.fetch_layer(where), 0)}, shapes, self._dtypes)
        return part.read(name, 0, start, stop, out)


def layer_range(
    stored: StoredPart, name: str, layer: int, shape: tuple[int, ...], dtype: np.dtype
) -> LayerRange:
    """Where a layer of an uncompressed array of a part lies."""
    array = stored.arrays[name]
    length = int(np.prod(shape[1:])) * dtype.itemsize
    file = (PurePosixPath(stored.file) / str(array.file)).as_posix()
    return LayerRange(file, int(array.offset or 0) + layer * length, length, array.checksums[layer])


def fetch_ahead(contents: Contents, ranges: Sequence[LayerRange]) -> None:
    """Fetch the ranges of one layer from several parts at a time, if they are remote."""
    if contents.remote is not None and len(ranges) > 1:
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(contents.remote.fetch_layer, ranges))
