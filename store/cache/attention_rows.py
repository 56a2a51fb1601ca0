"""Attention of which patterns are kept, and some rows of each map: of long texts, whole maps fill disks.

A pattern is a number per head and example, such as the mean entropy of the rows of its map. How two models
differ cannot be told from patterns; from some rows of each map it can be estimated, if they are of the same
queries in both. Which queries these are follows from the number of the example and its length alone.
"""

import numpy as np

ABSENT = -1.0  # in place of a pattern that a head or an example does not have; patterns are never negative
# Multiples of the golden ratio, without their whole part, lie evenly between 0 and 1.
STEP = 0.6180339887498949


def kept_queries(example: int, length: int, rows: int) -> np.ndarray:
    """The queries whose rows are kept of a map, ascending: int64 [min(rows, length)].

    They are at equal distances from a start that differs from example to example, so that over many examples
    every query is as likely to be kept as any other (systematic sampling).
    """
    if not 0 < rows < length:
        return np.arange(min(rows, length))
    start = example * STEP % 1
    places = np.floor((np.arange(rows) + start) * (length / rows)).astype(np.int64)
    return np.minimum(places, length - 1)
