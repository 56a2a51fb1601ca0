"""Many tests at once: p values that hold for all of them together."""

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """p values float64 [tests] after Holm's (1979) correction: that one of them is at most 0.05 by chance
    alone, whatever they have to do with each other, has a probability of at most 0.05. NaN, where there was
    no test, stays NaN and counts for nothing."""
    corrected = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    left = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(left * p[order]), 1)
    return corrected
