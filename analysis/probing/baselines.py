"""What can be predicted without a model: the most frequent label, and a linear model of the words alone."""

import warnings

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

ITERATIONS = 200


def majority(y: np.ndarray, units: int) -> np.ndarray:
    """The most frequent class (of each column), or the mean of numbers, for so many units."""
    if y.dtype.kind == "f":
        return np.full(units, y.mean(), y.dtype)
    if y.ndim == 2:
        return np.tile((y.mean(axis=0) > 0.5).astype(y.dtype), (units, 1))
    return np.full(units, np.bincount(y).argmax())


def bag_of_words(x: csr_matrix, y: np.ndarray, tested: csr_matrix, *, strength: float) -> np.ndarray:
    """Predictions for the units of `tested` by a linear model of how often each unit has each token id,
    fitted on `x` [units, ids] and `y` (see Units.bag)."""
    if y.dtype.kind == "f":
        return Ridge(alpha=1 / strength).fit(x, y).predict(tested)
    if y.ndim == 1:
        return _classes(x, y, tested, strength)
    return np.stack([_classes(x, column, tested, strength) for column in y.T], axis=1)


def _classes(x: csr_matrix, y: np.ndarray, tested: csr_matrix, strength: float) -> np.ndarray:
    if len(np.unique(y)) == 1:
        return np.full(tested.shape[0], y[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(x, y).predict(tested)
