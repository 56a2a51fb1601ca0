"""Similarity of layers: centred kernel alignment (CKA) and representational similarity analysis (RSA).

Dims: n rows, d features. Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited";
Song et al. 2012, "Feature Selection via Dependence Maximization" (the unbiased estimate); Kriegeskorte et al.
2008, "Representational similarity analysis".
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from microtome.analysis.cache_checks import require_same_tokens, same_cache, select_layers
from microtome.analysis.numerics.half_precision import to_float32
from microtome.analysis.similarity_settings import LEAST_ROWS, SimilarityConfig
from microtome.store import ActivationCache
from microtome.store.errors import InputError

BANDWIDTH = 0.5  # of a Gaussian kernel, over the root of the median squared distance
Product = Callable[[np.ndarray, np.ndarray], float]
Kind = tuple[Callable[[np.ndarray], np.ndarray], Product, int]  # representation, inner product, items
BLOCK = 2048  # rows of one product in single precision; products are added up in double


def compare_similarity(
    config: SimilarityConfig,
    before: ActivationCache,
    after: ActivationCache,
    log_progress: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """How alike two layers represent the same tokens, for every pair of layers; each layer is read once.

    Stage "before" compares the layers of `before` with one another, "after" those of `after`, and "across"
    `layer` of `before` with `other_layer` of `after`. A cache compared with itself gives "before" alone.
    Widths and depths may differ. InputError unless both hold the same tokens in the same order.
    """
    if not before.layout.hidden_layers or not after.layout.hidden_layers:
        raise InputError(f"{before.path.name} and {after.path.name}: at least one keeps no hidden states")
    require_same_tokens(before, after)
    if before.layout.tokens != after.layout.tokens:
        names = f"{before.path.name} and {after.path.name}"
        raise InputError(
            f"{names} keep {before.layout.tokens} and {after.layout.tokens} of their tokens; extract both "
            "with the same setting of tokens"
        )
    stages = {"before": before} if same_cache(before, after) else {"before": before, "after": after}
    layers = {s: select_layers(config.layers, c.layout.hidden_layers, c) for s, c in stages.items()}
    tokens, items = _sample(config, before)
    kinds: dict[str, Kind] = {
        "linear_cka": (_centred, _hsic, len(tokens)),
        "rsa": (lambda states: _ranks(states[items]), np.dot, len(items)),
        "rbf_cka": (lambda states: _gaussian(states[items], BANDWIDTH), np.vdot, len(items)),
    }
    selected = {measure: kinds[measure] for measure in config.measures}
    representations: dict[str, dict[str, list[np.ndarray]]] = {
        measure: defaultdict(list) for measure in selected
    }
    for stage, cache in stages.items():
        for layer in layers[stage]:
            states = cache.hidden(layer)[tokens]
            for measure, (represent, _, _) in selected.items():
                representations[measure][stage].append(represent(states))
            log_progress(f"{stage}: layer {layer}")
    rows = []
    for measure, (_, product, n) in selected.items():
        about = {"split": before.description.split, "metric": measure, "n": n}
        for stage, table in _tables(representations[measure], product).items():
            one, other = ("before", "after") if stage == "across" else (stage, stage)
            rows += _pair_rows({**about, "stage": stage}, layers[one], layers[other], table)
        log_progress(measure)
    return rows


def linear_cka(x: np.ndarray, y: np.ndarray, debiased: bool = True) -> float:
    """Linear CKA of x [n, d1] and y [n, d2], by default of unbiased estimates, which may fall below 0.

    Independent representations have about 0; biased, far more unless n is many times d.
    """
    return StreamedCKA(debiased).add(x, y).value()


class StreamedCKA:
    """Linear CKA of representations that come in blocks of rows; memory does not grow with the rows.

    What one call of linear_cka with all rows gives.
    """

    def __init__(self, debiased: bool = True) -> None:
        self._debiased = debiased
        self._xy, self._xx, self._yy = _Sums(), _Sums(), _Sums()
        self._shifts: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, x: np.ndarray, y: np.ndarray) -> "StreamedCKA":
        """Take in more rows, [n, d1] and [n, d2] of the same items; InputError if they are not as many."""
        if len(x) != len(y):
            raise InputError(f"{len(x)} rows cannot be compared with {len(y)}")
        if len(x) == 0:
            return self
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self._shifts is None:  # moving the origin changes no estimate but spares digits
            self._shifts = x.mean(0), y.mean(0)
        x, y = x - self._shifts[0], y - self._shifts[1]
        self._xy.add(x, y)
        self._xx.add(x, x)
        self._yy.add(y, y)
        return self

    def value(self) -> float:
        """CKA of the rows so far; InputError while there are fewer than four."""
        xy, xx, yy = (s.hsic(self._debiased) for s in (self._xy, self._xx, self._yy))
        return xy / float(np.sqrt(xx * yy))


def rbf_cka(x: np.ndarray, y: np.ndarray, threshold: float = BANDWIDTH) -> float:
    """Biased CKA with Gaussian kernels, bandwidth threshold * sqrt(median squared distance).

    x [n, d1], y [n, d2], for small n: it holds matrices of n x n.
    """
    one, other = _gaussian(x, threshold), _gaussian(y, threshold)
    return float(np.vdot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))


def rsa(x: np.ndarray, y: np.ndarray, items: int = 1000, seed: int | np.random.Generator = 0) -> float:
    """Spearman correlation of the dissimilarities, 1 - Pearson correlation, between rows of x and of y.

    x [n, d1], y [n, d2]; of more than `items` rows a sample is taken. InputError under four rows.
    """
    _require_enough_rows(len(x))
    sampled = _sample_rows(np.random.default_rng(seed), len(x), items)
    one, other = _ranks(x[sampled]), _ranks(y[sampled])
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


class _Sums:
    """Sums over rows of x [n, d1] and y [n, d2] from which their HSIC follows without an n x n matrix.

    With k_i = x_i.x_i and l_i = y_i.y_i, the diagonals of the two Gram matrices.
    """

    def __init__(self) -> None:
        self.n = 0
        self._cross: Any = 0.0  # sum of x_i y_i^T, [d1, d2]
        self._x: Any = 0.0  # sum of x_i, [d1]
        self._y: Any = 0.0
        self._lx: Any = 0.0  # sum of l_i x_i, [d1]
        self._ky: Any = 0.0
        self._k = self._l = self._kl = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Products are taken in the precision of the arguments, sums in double."""
        ks, ls = np.vecdot(x, x), np.vecdot(y, y)
        self.n += len(x)
        self._cross += (x.T @ y).astype(np.float64, copy=False)
        self._x += x.sum(0, dtype=np.float64)
        self._y += y.sum(0, dtype=np.float64)
        self._lx += (ls @ x).astype(np.float64, copy=False)
        self._ky += (ks @ y).astype(np.float64, copy=False)
        self._k += float(ks.sum(dtype=np.float64))
        self._l += float(ls.sum(dtype=np.float64))
        self._kl += float(np.vdot(ks.astype(np.float64), ls.astype(np.float64)))

    def hsic(self, debiased: bool) -> float:
        """Hilbert-Schmidt independence criterion: Song et al.'s unbiased estimate, or Kornblith et al.'s.

        The unbiased one is of Gram matrices without their diagonals, so it needs no centring.
        """
        _require_enough_rows(self.n)
        n = self.n
        if not debiased:
            return _squared(self._cross - np.outer(self._x, self._y) / n) / (n - 1) ** 2
        trace = _squared(self._cross) - self._kl
        total = (self._x @ self._x - self._k) * (self._y @ self._y - self._l)
        mixed = self._x @ self._cross @ self._y - self._x @ self._lx - self._y @ self._ky + self._kl
        return float(trace + total / ((n - 1) * (n - 2)) - 2 * mixed / (n - 2)) / (n * (n - 3))


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    sums = _Sums()
    for start in range(0, len(x), BLOCK):
        sums.add(x[start : start + BLOCK], y[start : start + BLOCK])
    return sums.hsic(debiased=True)


def _squared(matrix: np.ndarray) -> float:
    return float(np.vdot(matrix, matrix))


def _require_enough_rows(n: int) -> None:
    if n < LEAST_ROWS:
        raise InputError(f"{n} rows are too few to compare representations; give at least {LEAST_ROWS}")


def _gaussian(x: np.ndarray, threshold: float) -> np.ndarray:
    """The double-centred Gaussian kernel of the rows, [n, d] -> [n, n]."""
    x = np.asarray(x, np.float64)
    x = x - x.mean(0)
    products = x @ x.T
    norms = np.diag(products)
    squared = norms[:, None] + norms[None, :] - 2 * products
    if np.median(squared) == 0:  # most rows are alike: there is no bandwidth, and the kernel tells none apart
        return np.zeros_like(squared)
    kernel = np.exp(-squared / (2 * threshold**2 * np.median(squared)))
    return kernel - kernel.mean(0) - kernel.mean(1, keepdims=True) + kernel.mean()


def _centred(x: np.ndarray) -> np.ndarray:
    """float32, so that a product in single precision keeps what distinguishes the rows."""
    x = to_float32(x)
    x -= x.mean(0, dtype=np.float64).astype(np.float32)
    return x


def _ranks(x: np.ndarray) -> np.ndarray:
    """Centred ranks of the dissimilarities between rows, the upper triangle: [n, d] -> [n (n - 1) / 2]."""
    x = x - x.mean(1, keepdims=True, dtype=np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    ranks = rankdata(1 - (x @ x.T)[np.triu_indices(len(x), 1)])
    return ranks - ranks.mean()


def _sample(config: SimilarityConfig, cache: ActivationCache) -> tuple[np.ndarray, np.ndarray]:
    """Rows, ascending, and which of them rsa takes. Special tokens are left out, unless only one token of
    each text is kept."""
    own = np.arange(len(cache.token_rows.keys))
    if cache.layout.tokens == "all":
        own = np.flatnonzero(~cache.special_mask)
    _require_enough_rows(len(own))
    rng = np.random.default_rng(config.seed)
    tokens = own[_sample_rows(rng, len(own), config.tokens)]
    return tokens, _sample_rows(rng, len(tokens), config.items)


def _sample_rows(rng: np.random.Generator, n: int, most: int) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _tables(sides: dict[str, list[np.ndarray]], product: Product) -> dict[str, np.ndarray]:
    """Normalised products [layers, layers] within each side, and across if there are two."""
    products = {stage: _within(layers, product) for stage, layers in sides.items()}
    norms = {stage: np.sqrt(_positive(np.diag(table))) for stage, table in products.items()}
    tables = {stage: table / np.outer(norms[stage], norms[stage]) for stage, table in products.items()}
    if len(sides) == 2:
        across = np.array([[product(x, y) for y in sides["after"]] for x in sides["before"]])
        tables["across"] = across / np.outer(norms["before"], norms["after"])
    return tables


def _positive(squares: np.ndarray) -> np.ndarray:
    """NaN where a layer tells no rows apart: it is like no other, and like itself neither."""
    if not np.isfinite(squares).all():
        raise InputError("hidden states are so large that their products are not finite; scale them down")
    return np.where(squares > 0, squares, np.nan)


def _within(layers: Sequence[np.ndarray], product: Product) -> np.ndarray:
    table = np.empty((len(layers), len(layers)))
    for i, x in enumerate(layers):
        for j in range(i, len(layers)):
            table[i, j] = table[j, i] = product(x, layers[j])
    return table


def _pair_rows(
    about: dict[str, Any], layers: Sequence[int], others: Sequence[int], table: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {**about, "layer": layer, "other_layer": other, "value": float(table[i, j])}
        for i, layer in enumerate(layers)
        for j, other in enumerate(others)
        if not np.isnan(table[i, j])
    ]
