"""Scores of labels, by the names of metrics."""

from collections.abc import Iterable

import numpy as np

from microtome.analysis.metrics import METRICS, SCORES
from microtome.analysis.metrics.labels import CountedLabels, Labels
from microtome.analysis.metrics.metric import OfOneClass, Score
from microtome.store.errors import InputError, unknown


def score(metric: str, labels: Labels) -> float:
    """One metric of all labels. InputError for one that is no score, or is for another form of labels."""
    refuse_other_labels(metric, labels)
    definition = score_entry(metric).definition
    if isinstance(definition, OfOneClass):
        raise InputError(f"{metric} is of one class; by_class has the scores of each")
    return definition.value(labels)


def scores(metrics: Iterable[str], labels: Labels) -> dict[str, float]:
    """Several metrics of the same labels."""
    return {metric: score(metric, labels) for metric in metrics}


def by_class(labels: CountedLabels) -> dict[str, dict[str, float]]:
    """Class -> the metrics of one class: class_precision, class_recall, class_f1, class_support; entity types
    where the labels are tags."""
    counts = labels.counts
    sums = np.stack([side.sum(axis=0) for side in (counts.right, counts.predicted, counts.gold)], axis=1)
    columns = {
        name: metric.definition.formula(sums.astype(np.float64)).tolist()
        for name, metric in SCORES.items()
        if isinstance(metric.definition, OfOneClass)
    }
    return {
        name: {metric: values[number] for metric, values in columns.items()}
        for number, name in enumerate(labels.classes)
    }


def score_entry(metric: str) -> Score:
    """The entry of a metric that compares predictions with gold labels; InputError if it does not."""
    entry = METRICS.get(metric)
    if not isinstance(entry, Score):
        raise unknown("score", metric, SCORES)
    return entry


def refuse_other_labels(metric: str, labels: Labels) -> None:
    """InputError for labels of a form that the metric is not for."""
    forms = score_entry(metric).labels
    if not isinstance(labels, forms):
        wanted = " or ".join(form.__name__ for form in forms)
        raise InputError(f"{metric} is for {wanted}, not for {type(labels).__name__}")
