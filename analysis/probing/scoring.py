"""How the predictions of a probe are scored, by what its units are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from microtome.analysis.metrics import PROBE_METRICS
from microtome.analysis.metrics.confusion import class_rows
from microtome.analysis.metrics.labels import Labels, class_labels, number_labels, set_labels
from microtome.analysis.metrics.scoring import score, scores
from microtome.analysis.metrics.terms import MetricTerms, metric_terms
from microtome.store import ActivationCache

Form = Literal["words", "numbers", "sets", "relations", "classes"]  # a key of PROBE_METRICS


@dataclass(frozen=True)
class Scoring:
    """Scores of class numbers [units], zeros and ones [units, classes], or numbers [units]."""

    form: Form
    classes: tuple[str, ...]

    @property
    def primary(self) -> str:
        """The metric that the regularisation is chosen by, and that has an interval."""
        return PROBE_METRICS[self.form][0]

    def scores(self, gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> dict[str, float]:
        """Every metric that suits the units, the primary one first; `groups` int64 [units] has the example of
        each unit, where the entities of its words end."""
        return scores(PROBE_METRICS[self.form], self._labels(gold, predicted, groups))

    def class_rows(
        self, gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """Result rows of each class, and of which class is taken for which."""
        return class_rows(self._labels(gold, predicted, groups))

    def primary_score(self, gold: np.ndarray, predicted: np.ndarray) -> float:
        return score(self.primary, self._labels(gold, predicted))

    def terms(self, gold: np.ndarray, predicted: np.ndarray, documents: np.ndarray) -> MetricTerms:
        """The primary metric by document; `documents` int64 [units] has that of each unit."""
        return metric_terms(self.primary, self._labels(gold, predicted, documents))

    def _labels(self, gold: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None = None) -> Labels:
        if self.form == "numbers":
            return number_labels(gold, predicted, groups=groups)
        if self.form == "sets":
            return set_labels(gold, predicted, self.classes, groups=groups)
        first = 1 if self.form == "relations" else 0  # the first class of a relation task is "none"
        return class_labels(gold, predicted, self.classes, first_counted=first, groups=groups)


def scoring(cache: ActivationCache, y: np.ndarray, classes: tuple[str, ...]) -> Scoring:
    """What suits the units of a cache, whose labels are `y`."""
    if y.dtype.kind == "f":
        return Scoring("numbers", classes)
    if y.ndim == 2:
        return Scoring("sets", classes)
    of_unit: dict[str, Form] = {"word": "words", "entity_pair": "relations"}
    return Scoring(of_unit.get(cache.description.unit, "classes"), classes)


def decision_terms(gold: np.ndarray, predicted: np.ndarray, documents: np.ndarray) -> MetricTerms:
    """The share of right decisions by document: one per unit, or one per unit and class [units, classes]."""
    of_decisions = np.repeat(documents, gold.size // len(gold))
    labels = class_labels(gold.reshape(-1), predicted.reshape(-1), classes=(), groups=of_decisions)
    return metric_terms("accuracy", labels)  # which needs no names of classes
