"""What a probe learns of the task beyond what it can memorise: its scores beside those on a control task.

Accuracies of a task and its control task have different floors: a word type that is frequent gives its random
label to many words. So each is also taken above the majority label of its own training units, which is what a
probe that reads nothing reaches (in the accuracy and in the primary metric). The random label of a word that
training did not have cannot be known: on unseen words what the probe has over its control is no memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtome.analysis.bootstrap import contrast
from microtome.analysis.metrics.terms import MetricTerms
from microtome.analysis.probing.baselines import majority
from microtome.analysis.probing.control import control_labels, random_labels
from microtome.analysis.probing.scoring import Scoring, decision_terms
from microtome.analysis.units import Units

Terms = Callable[[np.ndarray, np.ndarray, np.ndarray], MetricTerms]  # gold, predicted, documents


@dataclass(frozen=True, eq=False)
class ControlTask:
    """Labels of the training and test units that keep nothing of the task but their distribution.

    by_type  whether each word type has one label; else each example
    seen     bool [test units], whether the training units have the word; None where units are no words
    """

    train_y: np.ndarray
    test_y: np.ndarray
    by_type: bool
    seen: np.ndarray | None = None


def control_task(train: Units, test: Units, rng: np.random.Generator) -> ControlTask | None:
    """None for tasks whose labels are numbers."""
    if train.y.dtype.kind == "f":
        return None
    if train.types is None or test.types is None:
        train_y, test_y = random_labels(train.y, rng), random_labels(train.y, rng, size=len(test.y))
        return ControlTask(train_y, test_y, by_type=False)
    types = np.concatenate([train.types, test.types])
    labels = control_labels(types, np.concatenate([train.y, test.y]), rng)
    at = len(train.y)
    return ControlTask(labels[:at], labels[at:], True, np.isin(test.types, train.types))


@dataclass(frozen=True, eq=False)
class Selectivity:
    """Compares predictions on the test units with those on the control task, with 95 % intervals over
    documents from `resamples` (0: none)."""

    control: ControlTask
    scoring: Scoring
    train_y: np.ndarray
    test_units: Units
    resamples: int
    seed: int

    @property
    def accuracy_name(self) -> str:
        return "control_accuracy" if self.control.by_type else "random_label_accuracy"

    def majority_accuracy(self) -> float:
        """What the majority label of the control task has right of it."""
        gold, documents = self.control.test_y, self.test_units.documents
        return decision_terms(gold, majority(self.control.train_y, len(gold)), documents).value()

    def rows(self, predicted: np.ndarray, control_predicted: np.ndarray) -> Iterator[dict[str, Any]]:
        """The metrics and values of a layer; those of some of the words say in `n` of how many."""
        task, control = self.test_units.y, self.control.test_y
        documents = self.test_units.documents
        sides = (
            decision_terms(task, predicted, documents),
            decision_terms(control, control_predicted, documents),
        )
        yield {"metric": self.accuracy_name, "value": sides[1].value()}
        plain = "selectivity" if self.control.by_type else "random_label_selectivity"
        yield {"metric": plain, **self._contrast(sides[:1], sides[1:])}
        every = np.ones(len(task), bool)
        yield self._over_majority(
            "selectivity_over_majority", decision_terms, predicted, control_predicted, every
        )
        if self.scoring.primary != "accuracy":
            terms = self.scoring.terms
            yield self._over_majority("primary_selectivity", terms, predicted, control_predicted, every)
        if self.control.seen is not None:
            parts = {
                "seen_word_selectivity": self.control.seen,
                "unseen_word_selectivity": ~self.control.seen,
            }
            for metric, units in parts.items():
                if units.any():
                    terms = self.scoring.terms
                    yield self._over_majority(metric, terms, predicted, control_predicted, units)

    def _over_majority(
        self,
        metric: str,
        terms: Terms,
        predicted: np.ndarray,
        control_predicted: np.ndarray,
        units: np.ndarray,
    ) -> dict[str, Any]:
        """The gain over the majority label minus that on the control task, of the units that are true."""
        documents = self.test_units.documents[units]
        task, task_majority, control, control_majority = (
            terms(gold[units], labels[units], documents)
            for gold, labels in (
                (self.test_units.y, predicted),
                (self.test_units.y, majority(self.train_y, len(units))),
                (self.control.test_y, control_predicted),
                (self.control.test_y, majority(self.control.train_y, len(units))),
            )
        )
        bounds = self._contrast([task, control_majority], [task_majority, control])
        return {"metric": metric, "n": int(units.sum()), **bounds}

    def _contrast(self, plus: Sequence[MetricTerms], minus: Sequence[MetricTerms]) -> dict[str, float]:
        if not self.resamples:
            return {"value": sum(t.value() for t in plus) - sum(t.value() for t in minus)}
        sides = [[term] for term in plus], [[term] for term in minus]
        estimate = contrast(*sides, resamples=self.resamples, seed=self.seed)
        return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
