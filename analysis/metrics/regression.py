"""What each unit adds to the correlation of numbers, and the correlation of their ranks."""

import numpy as np

from microtome.analysis.metrics.formulas import correlation
from microtome.analysis.metrics.labels import NumberLabels


def products(labels: NumberLabels) -> np.ndarray:
    """1, x, y, xx, yy, xy; both sides standardised, which does not change their correlation but keeps large
    numbers that differ little from being rounded away."""
    return _products(_standardised(labels.gold), _standardised(labels.predicted))


def rank_correlation(labels: NumberLabels) -> float:
    """Spearman's: the correlation of ranks, equal numbers sharing their mean rank; 0 where one side is
    constant. A rank depends on all other numbers, so this is no sum over examples."""
    x, y = (_standardised(_ranks(side)) for side in (labels.gold, labels.predicted))
    return float(correlation(_products(x, y).sum(axis=0)[None])[0])


def _products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)


def _standardised(values: np.ndarray) -> np.ndarray:
    if len(values) == 0:
        return values
    centred, spread = values - values.mean(), values.std()
    varies = spread > 0 and np.ptp(values) > 0
    return centred / spread if varies else np.zeros(len(values))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
