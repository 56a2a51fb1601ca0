"""Named entity recognition: a tag per word, strict IOB2.

A head tells the tags apart (IOB2), or the types alone: O and a class per type. With types alone a run of
words of one type is predicted as one entity, so that both heads are scored on the same gold entities by the
same metrics.
"""

from collections.abc import Hashable, Sequence

import numpy as np

from microtome.analysis.metrics.tags import TagLabels, tag_labels, word_class
from microtome.jobs.data.encoding import Encoding
from microtome.jobs.data.examples import Example, document_names
from microtome.jobs.tasks.types.task_type import TaskType

NO_TARGET = -100  # what the cross-entropy of torch leaves out


class Ner(TaskType):
    """The label of a word stands on one of its subwords; a truncated word is predicted as O."""

    texts = 1
    head = "token"
    unit = "word"
    metrics = (
        "entity_f1",
        "entity_precision",
        "entity_recall",
        "entity_f1_untyped",
        "entity_f1_lenient",
        "entity_f1_relaxed",
        "token_macro_f1",
        "token_micro_f1",
    )

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))

    def with_tags(self, tags: str) -> TaskType:
        return NerByType() if tags == "types" else self

    def strange(self, example: Example, labels: Sequence[str]) -> str | None:
        classes = {"O", *labels}
        return next((tag for tag in example.label if word_class(tag) not in classes), None)  # type: ignore[union-attr]

    def stratum(self, example: Example) -> Hashable:
        return 0

    def targets(
        self, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> list[int]:
        number = {name: index for index, name in enumerate(classes)}
        targets = [NO_TARGET] * len(encoding.input_ids)
        for word, position in _positions(encoding, subword).items():
            targets[position] = number[self._class_of(example.label[word])]  # type: ignore[index]
        return targets

    def _class_of(self, tag: str) -> str:
        """The class of the head that a gold tag is."""
        return tag

    def decode(
        self, logits: np.ndarray, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> tuple[str, ...]:
        best = logits.argmax(-1)
        tags = ["O"] * example.words
        for word, position in _positions(encoding, subword).items():
            tags[word] = classes[best[position]]
        return tuple(tags)

    def labelled(
        self, examples: Sequence[Example], predicted: Sequence[Sequence[str]], labels: Sequence[str]
    ) -> TagLabels:
        gold: list[Sequence[str]] = [e.label for e in examples]  # type: ignore[misc]
        return tag_labels(gold, predicted, labels, groups=document_names(examples))

    def cached_labels(self, examples: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
        number = {name: index for index, name in enumerate(classes)}
        return np.array([number[tag] for e in examples for tag in e.label], np.int16)  # type: ignore[union-attr]


class NerByType(Ner):
    """The head has one class for O and one per type: it cannot tell where one entity ends and another of the
    same type begins. The gold tags keep that border, which counts as missed."""

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return ("O", *labels)

    def _class_of(self, tag: str) -> str:
        return word_class(tag)

    def decode(
        self, logits: np.ndarray, example: Example, encoding: Encoding, classes: Sequence[str], subword: str
    ) -> tuple[str, ...]:
        types = super().decode(logits, example, encoding, classes, subword)
        return iob2_of_types(types)


def iob2_of_types(types: Sequence[str]) -> tuple[str, ...]:
    """IOB2 tags of words with one type each, or O: a run of one type is one entity."""
    before = ("O", *types)
    return tuple(
        "O" if kind == "O" else f"{'I' if kind == last else 'B'}-{kind}"
        for last, kind in zip(before, types, strict=False)
    )


def _positions(encoding: Encoding, subword: str) -> dict[int, int]:
    """word -> the position of its first or last subword."""
    tokens = enumerate(encoding.word_ids)
    if subword == "first":
        tokens = reversed(list(tokens))  # type: ignore[assignment]
    return {word: position for position, word in tokens if word >= 0}
