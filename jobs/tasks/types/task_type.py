"""The contract of a task type. A new one is one file beside this and one line in the registry."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np

from microtome.analysis.metrics.labels import CountedLabels, Labels
from microtome.analysis.metrics.scoring import by_class, scores
from microtome.analysis.metrics.terms import MetricTerms, metric_terms
from microtome.jobs.data.encoding import Encoding
from microtome.jobs.data.examples import Example, Label
from microtome.jobs.data.readers.marks import MARKS, marks_that_fit

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]


class TaskType(ABC):
    """How examples of a kind become targets, predictions, scores and cached labels.

    `labels` are the names in the task file; `classes` what the head distinguishes, in order.
    """

    texts: int  # how many texts an example has
    fewest_labels: int = 1  # in a task file
    head: Literal["token", "sequence"]
    problem: Problem = "single_label_classification"  # which loss
    unit: Literal["word", "text", "segment_pair", "entity_pair"]  # what a probe classifies
    metrics: tuple[str, ...]  # names in the registry of metrics; the first picks the best epoch

    @abstractmethod
    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """What the head distinguishes."""

    def with_tags(self, tags: str) -> "TaskType":
        """The same with the classes that `tags` of a recipe asks for; only tagging has a choice."""
        return self

    def unfit(self, example: Example) -> str:
        """Why an example is none of this type, or nothing: how many texts it has, what its label is, and
        whether the mentions of a relation are known."""
        if len(example.texts) != self.texts:
            return f"{len(example.texts)} text(s), where the task has {self.texts}"
        wanted, what = self._label_type()
        if not isinstance(example.label, wanted):
            return f"expected {what} as label, found {type(example.label).__name__} {example.label!r:.40}"
        if self.head == "token" and len(example.label) != example.words:  # type: ignore[arg-type]
            return f"{len(example.label)} tags for {example.words} words"  # type: ignore[arg-type]
        if self.unit == "entity_pair" and len(example.spans) != 2:
            hint = marks_that_fit(" ".join(example.texts[0])) or f"; marks is one of {', '.join(MARKS)}"
            return f"the two mentions of the relation are not known: the task's data needs marks{hint}"
        return ""

    def _label_type(self) -> tuple[type, str]:
        if self.head == "token":
            return tuple, "a tag per word"
        kinds: dict[str, tuple[type, str]] = {
            "regression": (float, "a number (target: number)"),
            "multi_label_classification": (tuple, "classes (target: classes)"),
        }
        return kinds.get(self.problem, (str, "a class"))

    @abstractmethod
    def strange(self, example: Example, labels: Sequence[str]) -> str | None:
        """A label of the example that the task does not know, or None."""

    @abstractmethod
    def stratum(self, example: Example) -> Hashable:
        """The class by which fractions are stratified; one and the same where there are no classes."""

    @abstractmethod
    def targets(self, example: Example, encoding: Encoding, classes: Sequence[str], subword: str) -> Any:
        """What the loss sees: a number, one per token with -100 where there is none (a list), or one per
        class (a tuple)."""

    @abstractmethod
    def decode(
        self, logits: np.ndarray, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> Label:
        """The predicted label from logits [classes] or [tokens, classes]."""

    @abstractmethod
    def labelled(
        self, examples: Sequence[Example], predicted: Sequence[Any], labels: Sequence[str]
    ) -> Labels:
        """Gold labels and predictions in the form that metrics take. What is resampled is the document, where
        examples are cut from documents (see `document_names`)."""

    @property
    def primary(self) -> str:
        """The metric that a model of the task is compared by."""
        return self.metrics[0]

    def score(
        self, examples: Sequence[Example], predicted: Sequence[Any], labels: Sequence[str]
    ) -> dict[str, float]:
        """Every metric of the type, the primary one first."""
        return scores(self.metrics, self.labelled(examples, predicted, labels))

    def score_classes(
        self, examples: Sequence[Example], predicted: Sequence[Any], labels: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Class -> the metrics of one class; nothing where there are no classes."""
        labelled = self.labelled(examples, predicted, labels)
        return by_class(labelled) if isinstance(labelled, CountedLabels) else {}

    def metric_terms(
        self, examples: Sequence[Example], predicted: Sequence[Any], labels: Sequence[str]
    ) -> MetricTerms:
        """The primary metric by example, or by document where examples are cut from documents."""
        return metric_terms(self.primary, self.labelled(examples, predicted, labels))

    def counted(self, labels: Sequence[str]) -> Sequence[str] | None:
        """The classes that the primary metric counts; None where it asks for none."""
        return None

    @abstractmethod
    def cached_labels(self, examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
        """Labels for the cache: class numbers int16 [words] or [examples], uint8 [examples, classes] of
        zeros and ones, or float32 [examples]."""
