"""Gold and predicted tags of the same sentences, and the entities that they mark."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from microtome.analysis.metrics.labels import (
    ClassLabels,
    CountedLabels,
    Counts,
    Grouping,
    Names,
    grouping_of,
    refuse_strangers,
)
from microtome.store.errors import InputError

OUTSIDE, BEGIN, INSIDE = range(3)  # what the first letter of a tag says
PREFIXES = {"O": OUTSIDE, "B": BEGIN, "I": INSIDE}


@dataclass(frozen=True, eq=False)
class OverlapCounts:
    """Where entities begin, bool [words] each; `_right` are those that share a word with an entity of the
    same type on the other side."""

    predicted_right: np.ndarray
    predicted: np.ndarray
    gold_right: np.ndarray
    gold: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class TagLabels(CountedLabels):
    """Sentences of IOB2 tags, one after the other; a unit is a word. `gold` and `predicted` are int64 [words,
    2]: what the first letter says (OUTSIDE, BEGIN, INSIDE), and the place of the type in `classes`, 0 for O.
    `sentence` is int64 [words], ascending.

    An entity counts at its first word. It is right if the prediction has an entity of the same type that
    begins and ends at the same words.
    """

    sentence: np.ndarray

    @cached_property
    def counts(self) -> Counts:
        gold, predicted = (_entities(tags, self.sentence) for tags in (self.gold, self.predicted))
        right = (gold.end == predicted.end) & (self.gold[:, 1] == self.predicted[:, 1])
        types = np.arange(len(self.classes))
        of_gold = gold.begins[:, None] & (self.gold[:, 1, None] == types)
        of_predicted = predicted.begins[:, None] & (self.predicted[:, 1, None] == types)
        return Counts(of_gold & of_predicted & right[:, None], of_predicted, of_gold)

    @property
    def lenient(self) -> "TagLabels":
        """The same as the script of the CoNLL tasks reads it: an I- that goes on with nothing begins an
        entity."""
        gold, predicted = (_begun(tags, self.sentence) for tags in (self.gold, self.predicted))
        return replace(self, gold=gold, predicted=predicted)

    @cached_property
    def overlap(self) -> OverlapCounts:
        """Which entities share a word with one of the same type on the other side."""
        gold, predicted = (_entities(tags, self.sentence) for tags in (self.gold, self.predicted))
        shared = gold.covers & predicted.covers & (self.gold[:, 1] == self.predicted[:, 1])
        gold_right, predicted_right = (np.zeros(len(self), bool) for _ in range(2))
        gold_right[gold.start[shared]] = True
        predicted_right[predicted.start[shared]] = True
        return OverlapCounts(predicted_right, predicted.begins, gold_right, gold.begins)

    @property
    def untyped(self) -> "TagLabels":
        """The same with one type for all entities."""
        gold, predicted = (tags * np.array([1, 0]) for tags in (self.gold, self.predicted))
        grouping, sentence = self.grouping, self.sentence
        return TagLabels(
            gold=gold, predicted=predicted, grouping=grouping, classes=("entity",), sentence=sentence
        )

    @property
    def words(self) -> ClassLabels:
        """The class of each word, with B- and I- merged: O, or a type."""
        gold, predicted = (
            np.where(tags[:, 0] == OUTSIDE, 0, tags[:, 1] + 1) for tags in (self.gold, self.predicted)
        )
        return ClassLabels(
            gold=gold, predicted=predicted, grouping=self.grouping, classes=("O", *self.classes)
        )


def tag_labels(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    types: Sequence[str],
    *,
    groups: Names | None = None,
) -> TagLabels:
    """Tagged sentences; `groups` [sentences] names the example of each. InputError for a tag that is neither
    O nor B- or I- with one of `types`, and for sentences of other lengths than the gold ones."""
    lengths = [np.array([len(tags) for tags in side], np.int64) for side in (gold, predicted)]
    if not np.array_equal(lengths[0], lengths[1]):
        raise InputError("predicted sentences have other numbers of words than the gold ones")
    sentence = np.repeat(np.arange(len(gold)), lengths[0])
    of_sentences = grouping_of(groups, len(gold))
    codes = {"O": (OUTSIDE, 0)}
    codes |= {f"{b}-{t}": (PREFIXES[b], place) for place, t in enumerate(types) for b in "BI"}
    flat = [[tag for tags in side for tag in tags] for side in (gold, predicted)]
    refuse_strangers(set(flat[0]) | set(flat[1]), codes, "tags")
    tags = [np.array([codes[tag] for tag in side], np.int64).reshape(-1, 2) for side in flat]
    return TagLabels(
        gold=tags[0],
        predicted=tags[1],
        grouping=Grouping(of_sentences.of_unit[sentence], of_sentences.size, of_sentences.names),
        classes=tuple(types),
        sentence=sentence,
    )


def runs_of_classes(labels: ClassLabels) -> TagLabels:
    """Words with one class each, the first class being O: every run of one class in an example is an entity.
    Two entities of one type that touch are one."""
    examples = labels.grouping.of_unit
    gold, predicted = (
        np.stack([np.where(side > 0, INSIDE, OUTSIDE), np.maximum(side - 1, 0)], axis=1)
        for side in (labels.gold, labels.predicted)
    )
    return TagLabels(
        gold=_begun(gold, examples),
        predicted=_begun(predicted, examples),
        grouping=labels.grouping,
        classes=labels.classes[1:],
        sentence=examples,
    )


def word_class(tag: str) -> str:
    """The class of a tag with B- and I- merged: B-DNA and I-DNA are DNA."""
    return tag if tag == "O" else tag[2:]


@dataclass(frozen=True, eq=False)
class _Entities:
    """What each word has to do with an entity.

    begins  bool [words], whether an entity begins
    covers  bool [words], whether it is a word of an entity
    start   int64 [words], the first word of its entity, if it is of one
    end     int64 [words], the word after the last one of its entity, if it is of one
    """

    begins: np.ndarray
    covers: np.ndarray
    start: np.ndarray
    end: np.ndarray


def _entities(tags: np.ndarray, sentence: np.ndarray) -> _Entities:
    """The entities of strict IOB2: each begins with B-. An I- goes on with what stands before it in the same
    sentence, if that is of its type; an I- that goes on with nothing is no entity."""
    words = np.arange(len(tags))
    goes_on = _goes_on(tags, sentence)
    start = np.maximum.accumulate(np.where(goes_on, 0, words))
    breaks = np.append(np.flatnonzero(~goes_on), len(tags))
    end = breaks[np.searchsorted(breaks, words, side="right")]
    begins = tags[:, 0] == BEGIN
    return _Entities(begins, begins[start], start, end)


def _begun(tags: np.ndarray, sentence: np.ndarray) -> np.ndarray:
    """The tags with B- for every I- that goes on with nothing."""
    alone = (tags[:, 0] == INSIDE) & ~_goes_on(tags, sentence)
    return np.stack([np.where(alone, BEGIN, tags[:, 0]), tags[:, 1]], axis=1)


def _goes_on(tags: np.ndarray, sentence: np.ndarray) -> np.ndarray:
    """bool [words]: an I- whose type is that of the word before it, in the same sentence."""
    prefix, kind = tags.T
    goes_on = np.zeros(len(tags), bool)
    goes_on[1:] = (
        (prefix[1:] == INSIDE)
        & (prefix[:-1] != OUTSIDE)
        & (kind[1:] == kind[:-1])
        & (sentence[1:] == sentence[:-1])
    )
    return goes_on
