"""The part formats by name. A format is one file here and one line in this table."""

from store.hdf5_parts import Hdf5Parts
from store.parts import PartFormat
from store.zarr_parts import ZarrParts

PART_FORMATS: dict[str, PartFormat] = {"zarr": ZarrParts(), "hdf5": Hdf5Parts()}
