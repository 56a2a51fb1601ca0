"""Measures of and between attention maps. The last axis of an argument is a distribution over keys."""

import numpy as np


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of rows in nats, between 0 and ln 2: [..., keys] -> [...].

    Half KL(p||m) + half KL(q||m) with m the mean. A key that neither row sees adds nothing.
    """
    p, q = _floats(p, q)
    total = _x_log_x(p)
    total += _x_log_x(q)
    total *= 0.5
    total -= _x_log_x(0.5 * (p + q))
    return np.maximum(_row_sums(total), 0)


def l1(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Sum of absolute differences of rows, 0 to 2, twice the total variation: [..., keys] -> [...]."""
    p, q = _floats(p, q)
    return _row_sums(np.abs(p - q))


def normalised_entropy(p: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
    """Entropy of rows over the log of how many keys are visible: [..., keys] -> [...].

    1 is uniform, 0 one-hot; a row that can see a single key has 0. `visible` is a bool mask that broadcasts
    against `p` and covers all of its mass; None means that every key is visible.
    """
    (p,) = _floats(p)
    counts = np.asarray(p.shape[-1] if visible is None else np.asarray(visible).sum(-1))
    scale = np.where(counts > 1, 1 / np.log(np.maximum(counts, 2)), 0).astype(p.dtype)
    return np.maximum(-_row_sums(_x_log_x(p)), 0) * scale


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


def _row_sums(x: np.ndarray) -> np.ndarray:
    """x.sum(-1); a product is several times faster where rows are short."""
    return x @ np.ones(x.shape[-1], x.dtype)


def _x_log_x(x: np.ndarray) -> np.ndarray:
    logs = np.maximum(x, np.finfo(x.dtype).tiny)
    np.log(logs, out=logs)
    logs *= x
    return logs
