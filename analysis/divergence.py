"""Measures between attention maps. The last axis of an argument is a distribution over keys."""

import numpy as np


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of rows in nats, between 0 and ln 2: [..., keys] -> [...].

    Half KL(p||m) + half KL(q||m) with m the mean. A key that neither row sees adds nothing.
    """
    dtype = np.result_type(p, q, np.float32)
    p, q = np.asarray(p, dtype), np.asarray(q, dtype)
    total = 0.5 * (_x_log_x(p) + _x_log_x(q)) - _x_log_x(0.5 * (p + q))
    return np.maximum(total.sum(-1), 0)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of flattened maps, as Bonfigli et al. (2024): [heads, T, T] -> [heads].

    Invisible keys and special tokens inflate it; never the only number.
    """
    flat_a, flat_b = (np.asarray(x, np.float32).reshape(len(x), -1) for x in (a, b))
    norms = np.linalg.norm(flat_a, axis=1) * np.linalg.norm(flat_b, axis=1)
    return np.einsum("hp,hp->h", flat_a, flat_b) / np.maximum(norms, np.finfo(np.float32).tiny)


def _x_log_x(x: np.ndarray) -> np.ndarray:
    return x * np.log(np.where(x > 0, x, 1))
