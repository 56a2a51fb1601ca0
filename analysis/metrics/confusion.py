"""Which class is taken for which: counts of gold and predicted classes, as result rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from microtome.analysis.metrics.labels import ClassLabels, CountedLabels, Labels
from microtome.analysis.metrics.scoring import by_class
from microtome.analysis.metrics.tags import TagLabels

METRIC = "confusion"


def confusion_matrix(labels: ClassLabels) -> np.ndarray:
    """How many units of each gold class (rows) are predicted as each class: int64 [classes, classes]."""
    counts = np.zeros((len(labels.classes),) * 2, np.int64)
    np.add.at(counts, (labels.gold, labels.predicted), 1)
    return counts


def confusion_rows(labels: Labels) -> Iterator[dict[str, Any]]:
    """A row for each pair of a gold class, `label`, and a predicted one that occurs; of tagged sentences the
    classes of their words. `n` is the number of units of the gold class. No row of labels that are numbers
    or sets of classes."""
    words = labels.words if isinstance(labels, TagLabels) else labels
    if not isinstance(words, ClassLabels):
        return
    counts = confusion_matrix(words)
    for gold, predicted in np.argwhere(counts).tolist():
        yield {
            "metric": METRIC,
            "label": words.classes[gold],
            "predicted_label": words.classes[predicted],
            "value": int(counts[gold, predicted]),
            "n": int(counts[gold].sum()),
        }


def class_rows(labels: Labels) -> Iterator[dict[str, Any]]:
    """A row for each class and metric of one class, then those of confusion_rows; `n` is the number of gold
    units of the class. No row of numbers."""
    if not isinstance(labels, CountedLabels):
        return
    for label, scores in by_class(labels).items():
        for metric, value in scores.items():
            yield {"metric": metric, "label": label, "value": value, "n": int(scores["class_support"])}
    yield from confusion_rows(labels)
