"""Measures of and between attention maps. The last axis of an argument is a distribution over keys."""

import numpy as np

from microtome.analysis.numerics.arrays import Array, row_sums, x_log_x


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of rows in nats, between 0 and ln 2: [..., keys] -> [...].

    Half KL(p||m) + half KL(q||m) with m the mean. A key that neither row sees adds nothing.
    """
    p, q = _floats(p, q)
    total = x_log_x(p)
    total += x_log_x(q)
    total *= 0.5
    total -= x_log_x(0.5 * (p + q))
    return np.maximum(row_sums(total), 0)


def l1(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Sum of absolute differences of rows, 0 to 2, twice the total variation: [..., keys] -> [...]."""
    p, q = _floats(p, q)
    return row_sums(np.abs(p - q))


def entropy(p: Array) -> Array:
    """Entropy of rows in nats: [..., keys] -> [...]. `p` is of numpy or of torch."""
    return (-row_sums(x_log_x(p))).clip(min=0)


def normalised_entropy(p: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
    """Entropy of rows over the log of how many keys are visible: [..., keys] -> [...].

    1 is uniform, 0 one-hot; a row that can see a single key has 0. `visible` is a bool mask that broadcasts
    against `p` and covers all of its mass; None means that every key is visible.
    """
    (p,) = _floats(p)
    counts = np.asarray(p.shape[-1] if visible is None else np.asarray(visible).sum(-1))
    return entropy(p) * entropy_scale(counts).astype(p.dtype)


def entropy_scale(visible: np.ndarray) -> np.ndarray:
    """What the entropy of a row is multiplied by so that it is 1 where so many keys are attended to alike."""
    return np.where(visible > 1, 1 / np.log(np.maximum(visible, 2)), 0)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of flattened maps, as Bonfigli et al. (2024): [heads, queries, keys] -> [heads].

    Of maps with special tokens these push it towards 1; keys that are invisible in both add nothing.
    """
    flat_a, flat_b = (np.asarray(x, np.float32).reshape(len(x), -1) for x in (a, b))
    norms = np.sqrt(np.vecdot(flat_a, flat_a)) * np.sqrt(np.vecdot(flat_b, flat_b))
    return np.vecdot(flat_a, flat_b) / np.maximum(norms, np.finfo(np.float32).tiny)


def _floats(*rows: np.ndarray) -> list[np.ndarray]:
    dtype = np.result_type(*rows, np.float32)
    return [np.asarray(x, dtype) for x in rows]
