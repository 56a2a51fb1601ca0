"""The part formats by name. A format is one file here and one line in this table."""

from microtome.store.cache.formats.hdf5 import Hdf5Parts
from microtome.store.cache.formats.part import PartFormat
from microtome.store.cache.formats.zarr import ZarrParts

PART_FORMATS: dict[str, PartFormat] = {"zarr": ZarrParts(), "hdf5": Hdf5Parts()}
