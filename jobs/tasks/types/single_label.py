"""What the types with one class per example have in common."""

from collections.abc import Hashable, Sequence

import numpy as np

from microtome.analysis.metrics.labels import ClassLabels, class_labels
from microtome.jobs.data.encoding import Encoding
from microtome.jobs.data.examples import Example, document_names
from microtome.jobs.tasks.types.task_type import TaskType


class SingleLabel(TaskType):
    """The head reads one vector of the sequence."""

    head = "sequence"
    fewest_labels = 2  # with one there is nothing to tell apart
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(labels)

    def strange(self, example: Example, labels: Sequence[str]) -> str | None:
        return None if example.label in labels else str(example.label)

    def stratum(self, example: Example) -> Hashable:
        return example.label

    def targets(self, example: Example, encoding: Encoding, classes: Sequence[str], subword: str) -> int:
        return list(classes).index(str(example.label))

    def decode(
        self, logits: np.ndarray, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> str:
        return classes[int(logits.argmax())]

    def labelled(
        self, examples: Sequence[Example], predicted: Sequence[str], labels: Sequence[str]
    ) -> ClassLabels:
        return class_labels(
            [str(e.label) for e in examples], predicted, labels, groups=document_names(examples)
        )

    def cached_labels(self, examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
        return np.array([list(classes).index(str(e.label)) for e in examples], np.int16)
