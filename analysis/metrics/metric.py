"""What a metric is: its names, its range, and, where it scores predictions, how it is computed from them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtome.analysis.metrics.labels import Labels

UNBOUNDED = math.inf


@dataclass(frozen=True)
class Metric:
    """Any number that a result row may hold under this name.

    full_name         for tables and model cards
    short_name        for running text and axes; the name itself, in words, if empty
    unit              what is counted ("words", "bits"); empty for a ratio
    bounds            the smallest and the largest value
    higher_is_better  None where neither is
    hub_type          what the hub calls it in a model card; empty if it has no name for it
    """

    full_name: str
    short_name: str = ""
    unit: str = ""
    bounds: tuple[float, float] = (0, 1)
    higher_is_better: bool | None = None
    hub_type: str = ""

    @property
    def is_count(self) -> bool:
        """Whether every value is a whole number."""
        return self.unit in ("examples", "words", "entities")


@dataclass(frozen=True)
class Sums:
    """A metric that is a formula of sums over examples, so that it can be bootstrapped by a matrix product.

    terms          labels -> [units, k], what each unit adds to the sums
    formula        sums float64 [resamples, k] -> [resamples]; 0 where it divides by nothing
    whole_examples the terms are of examples, whose units are merged first
    """

    terms: Callable[[Any], np.ndarray]
    formula: Callable[[np.ndarray], np.ndarray]
    whole_examples: bool = False

    def of_examples(self, labels: Labels) -> np.ndarray:
        """What each example adds to the sums: float64 [examples, k]."""
        terms = self._terms(labels)
        grouping = labels.grouping
        if self.whole_examples or (not grouping.names and len(terms) == grouping.size):
            return terms.astype(np.float64)
        sums = np.zeros((grouping.size, terms.shape[1]))
        order = np.argsort(grouping.of_unit, kind="stable")
        starts = np.flatnonzero(np.diff(grouping.of_unit[order], prepend=-1))
        if len(starts):
            present = grouping.of_unit[order[starts]]
            sums[present] = np.add.reduceat(terms[order].astype(np.float64), starts, axis=0)
        return sums

    def value(self, labels: Labels) -> float:
        """The score of all examples."""
        return float(self.formula(self._terms(labels).sum(axis=0, dtype=np.float64)[None])[0])

    def _terms(self, labels: Labels) -> np.ndarray:
        return self.terms(labels.of_examples() if self.whole_examples else labels)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Whole:
    """A metric of all labels at once, which is no formula of sums over examples: it has no interval."""

    value: Callable[[Any], float]


@dataclass(frozen=True)
class OfOneClass:
    """A metric of one class: a formula of its right, predicted and gold units, float64 [classes, 3]."""

    formula: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Score(Metric):
    """A metric of predictions against gold labels; `labels` are the forms of labels that it is for."""

    labels: tuple[type[Labels], ...]
    definition: Sums | Whole | OfOneClass
    higher_is_better: bool | None = True
