"""A part of a cache whose values are compared with their checksums before they are returned.

The manifest has a checksum of the values of each layer of each array of a part. So the checksum does not
depend on file, format or compression, and reading one layer checks that layer only.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from microtome.store.artifacts.contents import Contents
from microtome.store.cache.description import StoredPart
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import Part, Place, PlainPart
from microtome.store.cache.layout import RAGGED_AXIS
from microtome.store.cache.remote_parts import RemotePart
from microtome.store.files.checksums import Stamp, checksum_of

_CHECKED: set[tuple[tuple[Stamp, ...], str, int]] = set()  # layers that this process has checked


class CheckedPart:
    """Opens a part as the manifest describes it, and reads it; a layer is checked when it is first read.

    Once per process: as long as the files are not touched, another reader of them does not check again. With
    `verify` false nothing is checked.
    """

    def __init__(
        self,
        contents: Contents,
        stored: StoredPart,
        part_format: str,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, np.dtype],
        *,
        verify: bool = True,
    ) -> None:
        self._contents = contents
        self._stored = stored
        self._shapes = shapes
        self._dtypes = dtypes
        self._verify = verify
        path = contents.folder / stored.file
        places = _places(path, stored)
        if contents.remote is not None and places is not None:
            self._stamps: tuple[Stamp, ...] = ()
            self._part: Part = RemotePart(contents.remote, stored, shapes, dtypes)
            self._verify = False  # a layer is compared when it arrives
            return
        self._stamps = contents.stamps(stored.file)
        self._part = (
            PART_FORMATS[part_format].open(path, stored.arrays)
            if places is None
            else PlainPart(places, shapes, dtypes)
        )

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """As `Part.read`; StoreError if the values of the layer are not those that were written."""
        checked = self._stamps, name, layer
        if not self._verify or checked in _CHECKED:
            return self._part.read(name, layer, start, stop, out)
        extent = self._shapes[name][RAGGED_AXIS[name]]
        if (start, stop) == (0, extent):
            values = self._check(name, layer, self._part.read(name, layer, start, stop, out))
        else:
            whole = self._check(name, layer, self._part.read(name, layer, 0, extent))
            cut = whole[start:stop] if RAGGED_AXIS[name] == 1 else whole[:, start:stop]
            values = cut.copy() if out is None else out
            if out is not None:
                out[:] = cut
        _CHECKED.add(checked)
        return values

    def _check(self, name: str, layer: int, values: np.ndarray) -> np.ndarray:
        """The values of a whole layer; StoreError if they differ from their checksum."""
        _, rows, columns = self._shapes[name]
        as_written = (
            values.shape == (rows, columns)
            and values.dtype == self._dtypes[name]
            and checksum_of(values) == self._stored.arrays[name].checksums[layer]
        )
        if not as_written:
            raise self._contents.error(self._stored.file, f"differs from its checksum in {name}")
        return values


def _places(path: Path, stored: StoredPart) -> dict[str, Place] | None:
    """Where the arrays of an uncompressed part lie; None for a compressed one."""
    places = {}
    for name, array in stored.arrays.items():
        if array.file is None or array.offset is None:
            return None
        places[name] = Place(path / array.file, array.offset)
    return places
