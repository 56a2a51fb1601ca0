"""How a score follows from sums over examples: float64 [resamples, k] -> [resamples]; 0 for a division by 0.

The columns of each are those of the terms that it is paired with in the registry.
"""

import numpy as np

CONSTANT = 1e-12  # a variance below this share of the mean square is rounding


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0 where nothing is divided by."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)


def mean(sums: np.ndarray) -> np.ndarray:
    """Columns: a value, 1."""
    return ratio(sums[:, 0], sums[:, 1])


def precision(sums: np.ndarray) -> np.ndarray:
    """Columns of this and the next two: right, predicted, gold."""
    return ratio(sums[:, 0], sums[:, 1])


def recall(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[:, 0], sums[:, 2])


def f1(sums: np.ndarray) -> np.ndarray:
    return ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


def overlap_f1(sums: np.ndarray) -> np.ndarray:
    """Columns: right predictions, predictions, gold entities that were predicted, gold entities. F1 of the
    precision of the one and the recall of the other."""
    precision, recall = ratio(sums[:, 0], sums[:, 1]), ratio(sums[:, 2], sums[:, 3])
    return ratio(2 * precision * recall, precision + recall)


def support(sums: np.ndarray) -> np.ndarray:
    """Columns: right, predicted, gold."""
    return sums[:, 2]


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Columns: right, predicted, gold, and more than 0 for a class that is averaged, each of all classes."""
    right, predicted, gold, averaged = np.split(sums, 4, axis=1)
    return _average(ratio(2 * right, predicted + gold), averaged > 0)


def weighted_f1(sums: np.ndarray) -> np.ndarray:
    """Columns: right, predicted, gold, each of all classes. A class weighs its gold units."""
    right, predicted, gold = np.split(sums, 3, axis=1)
    return _average(ratio(2 * right, predicted + gold), gold)


def mean_precision(sums: np.ndarray) -> np.ndarray:
    """Columns of this and the next two: precision, recall, 1."""
    return ratio(sums[:, 0], sums[:, 2])


def mean_recall(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[:, 1], sums[:, 2])


def f1_of_means(sums: np.ndarray) -> np.ndarray:
    """The F1 of the mean precision and the mean recall, which is not the mean F1."""
    precision, recall = mean_precision(sums), mean_recall(sums)
    return ratio(2 * precision * recall, precision + recall)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Columns: 1, x, y, xx, yy, xy. 0 where one side does not vary."""
    n, x, y, xx, yy, xy = sums.T
    variances = []
    for side, squares in ((x, xx), (y, yy)):
        variance = n * squares - side * side
        variances.append(np.where(variance > CONSTANT * n * squares, variance, 0))
    return ratio(n * xy - x * y, np.sqrt(variances[0] * variances[1]))


def _average(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return ratio((values * weights).sum(axis=1), weights.sum(axis=1))
