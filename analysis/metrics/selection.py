"""How the predictions of a probe are scored, by what a unit of the task is."""

from dataclasses import dataclass

import numpy as np

from microtome.analysis.metrics.scores import (
    class_scores,
    multi_label_scores,
    regression_scores,
    relation_scores,
    token_scores,
)
from microtome.analysis.metrics.terms import Summed, summed
from microtome.store import ActivationCache


@dataclass(frozen=True)
class Scoring:
    """Scores of class numbers, zeros and ones, or numbers. `primary` is the metric that choices go by."""

    primary: str
    classes: tuple[str, ...]

    def scores(self, gold: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        """Every metric that suits the unit: words, positive classes of a relation, sets, numbers, classes."""
        numbers = range(len(self.classes))
        if self.primary == "pearson":
            return regression_scores(gold, predicted)
        if self.primary == "token_macro_f1":
            return token_scores(gold, predicted, numbers)
        if gold.ndim == 2:
            true, found = ([np.flatnonzero(row).tolist() for row in side] for side in (gold, predicted))
            return multi_label_scores(true, found, numbers)  # type: ignore[arg-type]
        if self.primary == "micro_f1":
            return relation_scores(gold, predicted, numbers[1:])
        return class_scores(gold, predicted)

    def summed(self, gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> Summed:
        """The primary metric as sums over the examples that `groups` [units] numbers."""
        classes = list(range(len(self.classes)))
        if self.primary == "micro_f1" and gold.ndim == 1:
            classes = classes[1:]
        found = summed(self.primary, gold, predicted, classes=classes, groups=groups)
        assert found is not None
        return found


def accuracy(gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> Summed:
    """The share of right decisions: of units, or of units times classes."""
    true, found = gold.reshape(-1), predicted.reshape(-1)
    per_unit = gold.size // len(gold)
    result = summed("accuracy", true, found, groups=np.repeat(groups, per_unit))
    assert result is not None
    return result


def scoring(cache: ActivationCache, y: np.ndarray, classes: tuple[str, ...]) -> Scoring:
    """What suits the unit of a cache."""
    unit = cache.description.unit
    if y.dtype.kind == "f":
        return Scoring("pearson", classes)
    if y.ndim == 2 or unit == "entity_pair":
        return Scoring("micro_f1", classes)
    return Scoring("token_macro_f1" if unit == "word" else "accuracy", classes)
