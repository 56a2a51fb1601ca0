"""Attention of which only the largest weights of each row are kept: of long texts, whole maps fill disks.

A row is 2 * k numbers of 16 bits: the positions of its k largest weights, largest first, and then these
weights as float16. Of rows with fewer keys the last weights are zero.
"""

import numpy as np

LONGEST = 31_743  # positions beyond it could not be told from weights that are not finite


def unpacked(packed_hp: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """uint16 [heads, length * 2 * k] -> weights, float16 [heads, length, k], and the positions of their keys,
    int64 of the same shape; a position without a weight is 0."""
    rows = packed_hp.reshape(len(packed_hp), length, -1)
    k = rows.shape[-1] // 2
    weights = np.ascontiguousarray(rows[..., k:]).view(np.float16)
    return weights, np.where(weights > 0, rows[..., :k], 0).astype(np.int64)


def as_maps(weights: np.ndarray, keys: np.ndarray, causal: bool) -> np.ndarray:
    """float16 [heads, length, length]: the weights that are kept at their places, and what is left of each
    row spread evenly over its other keys.

    So rows sum to one, and the absolute differences of a row sum to twice what is left of it at the most.
    """
    length = weights.shape[1]
    kept = weights > 0
    heads, queries, _ = np.nonzero(kept)
    maps = np.zeros((len(weights), length, length), np.float32)
    maps[heads, queries, keys[kept]] = weights[kept]
    free = maps == 0
    if causal:
        free &= np.tri(length, dtype=bool)
    rest = np.clip(1 - maps.sum(-1), 0, None)
    maps += free * (rest / np.maximum(free.sum(-1), 1))[..., None]
    return maps.astype(np.float16)
