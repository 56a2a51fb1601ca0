"""Any number of classes for a text, none included."""

from collections.abc import Hashable, Sequence

import numpy as np

from microtome.analysis.metrics.labels import SetLabels, indicators, set_labels
from microtome.jobs.data.encoding import Encoding
from microtome.jobs.data.examples import Example, document_names
from microtome.jobs.tasks.types.task_type import TaskType


class MultiLabel(TaskType):
    """A class is predicted where its logit is above 0."""

    texts = 1
    head = "sequence"
    problem = "multi_label_classification"
    unit = "text"
    metrics: tuple[str, ...] = ("micro_f1", "macro_f1", "weighted_f1", "samples_f1", "exact_match")

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(labels)

    def strange(self, example: Example, labels: Sequence[str]) -> str | None:
        return next((name for name in example.label if name not in labels), None)  # type: ignore[union-attr]

    def stratum(self, example: Example) -> Hashable:
        return example.label

    def targets(
        self, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> tuple[float, ...]:
        return tuple(float(name in example.label) for name in classes)  # type: ignore[operator]

    def decode(
        self, logits: np.ndarray, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> tuple[str, ...]:
        return tuple(name for name, logit in zip(classes, logits, strict=True) if logit > 0)

    def labelled(
        self, examples: Sequence[Example], predicted: Sequence[Sequence[str]], labels: Sequence[str]
    ) -> SetLabels:
        gold: list[Sequence[str]] = [e.label for e in examples]  # type: ignore[misc]
        return set_labels(gold, predicted, labels, groups=document_names(examples))

    def counted(self, labels: Sequence[str]) -> Sequence[str]:
        return labels

    def cached_labels(self, examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
        return indicators([e.label for e in examples], classes)  # type: ignore[misc]


class DocumentsMultiLabel(MultiLabel):
    """Sentences of documents: the classes of a document are those of its sentences together, and what counts
    is the example-based F1 of documents that have any (BLUE, Hallmarks of Cancer). The scores over sentences
    stand beside it."""

    metrics = ("example_f1", "example_precision", "example_recall", *MultiLabel.metrics)
