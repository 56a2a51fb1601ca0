"""How alike two texts are: a number."""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from microtome.analysis.metrics.labels import NumberLabels, number_labels
from microtome.jobs.data.encoding import Encoding
from microtome.jobs.data.examples import Example, document_names
from microtome.jobs.tasks.types.task_type import TaskType


class Similarity(TaskType):
    """Regression on both texts together, by squared error."""

    texts = 2
    head = "sequence"
    problem = "regression"
    unit = "segment_pair"
    metrics = ("pearson", "spearman")

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return ("score",)

    def strange(self, example: Example, labels: Sequence[str]) -> str | None:
        finite = isinstance(example.label, float) and math.isfinite(example.label)
        return None if finite else str(example.label)

    def stratum(self, example: Example) -> Hashable:
        return 0

    def targets(self, example: Example, encoding: Encoding, classes: Sequence[str], subword: str) -> float:
        return float(example.label)  # type: ignore[arg-type]

    def decode(
        self, logits: np.ndarray, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> float:
        return float(logits[0])

    def labelled(
        self, examples: Sequence[Example], predicted: Sequence[float], labels: Sequence[str]
    ) -> NumberLabels:
        return number_labels([e.label for e in examples], predicted, groups=document_names(examples))

    def cached_labels(self, examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
        return np.array([e.label for e in examples], np.float32)
