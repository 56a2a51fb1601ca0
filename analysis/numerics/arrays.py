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
