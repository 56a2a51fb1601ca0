"""What is computed alike from numpy arrays, which caches give, and from torch tensors, which a model gives.

Operators, and methods such as `sum` and `clip`, are the same in both libraries; the few functions here are
not. Nothing is imported for it: a tensor brings its methods along.
"""

from typing import Any

import numpy as np

from microtome.analysis.numerics.half_precision import to_float32

Array = Any  # a numpy array, or a torch tensor on any device
TINY = float(np.finfo(np.float32).tiny)


def float32(values: Array) -> Array:
    """The same in float32; what is float32 already may come back itself."""
    return to_float32(values) if isinstance(values, np.ndarray) else values.float()


def float32_copy(values: Array) -> Array:
    """The same in float32, to be written to."""
    single = float32(values)
    return single.clone() if single is values else single


def taken(values: Array, places: slice | Array, axis: int) -> Array:
    """What lies at some places along an axis. By a slice nothing is copied; by an array of places numpy's
    `take` is twice as fast as its indexing, and leaves the axes in their order in memory."""
    if isinstance(places, slice):
        return values[(slice(None),) * axis + (places,)]
    return values.take(places, axis) if isinstance(values, np.ndarray) else values.index_select(axis, places)


def row_sums(values: Array) -> Array:
    """values.sum(-1); in numpy a product is several times faster where rows are short."""
    if isinstance(values, np.ndarray):
        return values @ np.ones(values.shape[-1], values.dtype)
    return values.sum(-1)


def x_log_x(values: Array) -> Array:
    """x times the logarithm of x, 0 where x is 0."""
    if isinstance(values, np.ndarray):
        logs = np.maximum(values, np.finfo(values.dtype).tiny)
        np.log(logs, out=logs)
    else:
        logs = values.clip(min=TINY).log_()
    logs *= values
    return logs
