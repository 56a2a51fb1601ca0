"""The part formats by name. A format is one file here and one line in this table."""

from microtome.store.cache.formats.part import PartFormat
from microtome.store.lazy import LazyImport, LazyTable

# The libraries of a format are imported with it: an uncompressed part is read without them.
PART_FORMATS: LazyTable[PartFormat] = LazyTable(
    {
        "zarr": LazyImport("microtome.store.cache.formats.zarr:PARTS"),
        "hdf5": LazyImport("microtome.store.cache.formats.hdf5:PARTS"),
    }
)
