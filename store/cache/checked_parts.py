"""A part of a cache whose values have been compared with their checksums before anyone sees them.

The manifest has a checksum of the values of each layer of each array of a part. So it does not matter in
which file, in which format and how compressed they lie, and who reads one layer reads and checks no other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from microtome.store.artifacts.contents import Contents
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import Part, Place, PlainPart
from microtome.store.cache.layout import RAGGED_AXIS
from microtome.store.files.checksums import Stamp, checksum_of

_CHECKED: set[tuple[tuple[Stamp, ...], str, int]] = set()  # layers that this process has found right


class CheckedPart:
    """Opens a part as the manifest describes it, and reads it; a layer is checked when it is first read.

    Once per process: as long as the files are not touched, another reader of them does not check again. With
    `verify` false nothing is checked.
    """

    def __init__(
        self,
        contents: Contents,
        record: Mapping[str, Any],
        part_format: str,
        shapes: Mapping[str, tuple[int, ...]],
        dtype: np.dtype,
        *,
        verify: bool = True,
    ) -> None:
        self._contents = contents
        self._record = record
        self._shapes = shapes
        self._dtype = dtype
        self._verify = verify
        self._stamps = contents.stamps(record["file"])
        self._part: Part
        if all("file" in described for described in record["arrays"].values()):
            folder = contents.folder / record["file"]
            places = {
                name: Place(folder / described["file"], described["offset"])
                for name, described in record["arrays"].items()
            }
            self._part = PlainPart(places, shapes, dtype)
        else:
            self._part = PART_FORMATS[part_format].open(contents.folder / record["file"], record["arrays"])

    def read(self, name: str, layer: int, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """As `Part.read`; StoreError if the values of the layer are not those that were written."""
        seen = self._stamps, name, layer
        if not self._verify or seen in _CHECKED:
            return self._part.read(name, layer, start, stop, out)
        extent = self._shapes[name][RAGGED_AXIS[name]]
        if (start, stop) == (0, extent):
            values = self._compared(name, layer, self._part.read(name, layer, start, stop, out))
        else:
            whole = self._compared(name, layer, self._part.read(name, layer, 0, extent))
            cut = whole[start:stop] if RAGGED_AXIS[name] == 1 else whole[:, start:stop]
            values = cut.copy() if out is None else out
            if out is not None:
                out[:] = cut
        _CHECKED.add(seen)
        return values

    def _compared(self, name: str, layer: int, values: np.ndarray) -> np.ndarray:
        _, rows, columns = self._shapes[name]
        right = (
            values.shape == (rows, columns)
            and values.dtype == self._dtype
            and checksum_of(values) == self._record["arrays"][name]["checksums"][layer]
        )
        if not right:
            raise self._contents.error(self._record["file"], f"differs from its checksum in {name}")
        return values
