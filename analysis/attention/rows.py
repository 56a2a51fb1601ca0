"""Rows of attention maps as distributions over the tokens that are compared."""

import numpy as np

from microtome.analysis.numerics.arrays import Array, float32_copy, row_sums, taken

LEAST_MASS = 1e-4  # of a row after masking; what half precision keeps of less is mostly rounding
Places = slice | np.ndarray  # along an axis of a map


def tokens_to_compare(special: np.ndarray, mode: str) -> Places:
    """Which tokens count: a slice where they are neighbours, because it cuts a map without an index."""
    if mode == "keep":
        return slice(None)
    own = np.flatnonzero(~special)
    if len(own) and own[-1] - own[0] + 1 == len(own):
        return slice(int(own[0]), int(own[-1]) + 1)
    return own


def distributions(maps: Array, queries: Places | Array, keys: Places | Array) -> tuple[Array, Array]:
    """float32 [heads, queries, keys] of some rows and columns of maps, and the mass of each row, [heads,
    queries]: the share of its attention that goes to these keys.

    Rows sum to one, which half-precision storage, masking and sinks undo; those of mass zero are zero.
    """
    attention = float32_copy(taken(taken(maps, queries, 1), keys, 2))
    mass = row_sums(attention)
    mass = mass * (mass > LEAST_MASS)
    attention *= ((mass > 0) / (mass + (mass <= 0)))[..., None]
    return attention, mass
