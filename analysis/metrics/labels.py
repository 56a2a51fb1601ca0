"""Gold and predicted labels of the same units, in the four forms that metrics are computed from.

A unit is what has a label of its own: a word, a text, a pair of texts, a pair of mentions. An example is what
a bootstrap draws: a unit may be an example, or several units (the words of a sentence, the sentences of a
document) may belong to one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from microtome.store.errors import InputError

OUTSIDE, BEGIN, INSIDE = range(3)  # what the first letter of a tag says
PREFIXES = {"O": OUTSIDE, "B": BEGIN, "I": INSIDE}

Names = Sequence[Any] | np.ndarray  # of the example of each unit


@dataclass(frozen=True, eq=False)
class Counts:
    """Which units count for which class: bool [units, classes] each. `right` are both gold and predicted."""

    right: np.ndarray
    predicted: np.ndarray
    gold: np.ndarray


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which example each unit belongs to: `of_unit` int64 [units], numbers below `size`. `names` are those of
    the examples, ascending; empty where every unit is an example without a name."""

    of_unit: np.ndarray
    size: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """What all forms have: the labels of the units, and the example of each unit."""

    gold: np.ndarray
    predicted: np.ndarray
    grouping: Grouping

    def __len__(self) -> int:
        return len(self.gold)


@dataclass(frozen=True, eq=False, kw_only=True)
class CountedLabels(Labels):
    """Labels of classes. F1 is of the classes from `first_counted` on: of all, but for the "none" of a
    relation task, which is the first."""

    classes: tuple[str, ...]
    first_counted: int = 0

    @cached_property
    def counts(self) -> Counts:
        """Which units count for which class, all classes of them."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassLabels(CountedLabels):
    """One class per unit: `gold` and `predicted` are int64 [units], places in `classes`."""

    @cached_property
    def counts(self) -> Counts:
        numbers = np.arange(len(self.classes))
        gold, predicted = self.gold[:, None] == numbers, self.predicted[:, None] == numbers
        return Counts(gold & predicted, predicted, gold)

    @property
    def right(self) -> np.ndarray:
        """bool [units]."""
        return self.gold == self.predicted


@dataclass(frozen=True, eq=False, kw_only=True)
class SetLabels(CountedLabels):
    """Any number of classes per unit: `gold` and `predicted` are bool [units, classes]."""

    @cached_property
    def counts(self) -> Counts:
        return Counts(self.gold & self.predicted, self.predicted, self.gold)

    @property
    def right(self) -> np.ndarray:
        """bool [units]: exactly the gold classes."""
        return (self.gold == self.predicted).all(axis=1)

    def of_examples(self) -> "SetLabels":
        """The classes of whole examples: those of all their units together."""
        number, size = self.grouping.of_unit, self.grouping.size
        gold, predicted = (np.zeros((size, len(self.classes)), bool) for _ in range(2))
        np.logical_or.at(gold, number, self.gold)
        np.logical_or.at(predicted, number, self.predicted)
        grouping = Grouping(np.arange(size), size, self.grouping.names)
        return SetLabels(gold=gold, predicted=predicted, grouping=grouping, classes=self.classes)


@dataclass(frozen=True, eq=False, kw_only=True)
class NumberLabels(Labels):
    """A number per unit: `gold` and `predicted` are float64 [units]."""


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


def class_labels(
    gold: Names,
    predicted: Names,
    classes: Sequence[str],
    *,
    first_counted: int = 0,
    groups: Names | None = None,
) -> ClassLabels:
    """One class per unit, by name or by its place in `classes` (an array of integers). `groups` [units] names
    the example of each unit; without it every unit is one. InputError for a name that is no class."""
    numbers = [_numbers(side, classes) for side in (gold, predicted)]
    _refuse_lengths(*numbers)
    return ClassLabels(
        gold=numbers[0],
        predicted=numbers[1],
        grouping=_grouping(groups, len(numbers[0])),
        classes=tuple(classes),
        first_counted=first_counted,
    )


def set_labels(
    gold: Sequence[Collection[str]] | np.ndarray,
    predicted: Sequence[Collection[str]] | np.ndarray,
    classes: Sequence[str],
    *,
    groups: Names | None = None,
) -> SetLabels:
    """Any number of classes per unit, by name, or as zeros and ones [units, classes]."""
    sides = [_is_in(side, classes) for side in (gold, predicted)]
    _refuse_lengths(*sides)
    return SetLabels(
        gold=sides[0],
        predicted=sides[1],
        grouping=_grouping(groups, len(sides[0])),
        classes=tuple(classes),
    )


def number_labels(gold: Names, predicted: Names, *, groups: Names | None = None) -> NumberLabels:
    """A number per unit."""
    sides = [np.asarray(side, np.float64) for side in (gold, predicted)]
    _refuse_lengths(*sides)
    return NumberLabels(gold=sides[0], predicted=sides[1], grouping=_grouping(groups, len(sides[0])))


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
    of_sentences = _grouping(groups, len(gold))
    codes = {"O": (OUTSIDE, 0)}
    codes |= {f"{b}-{t}": (PREFIXES[b], place) for place, t in enumerate(types) for b in "BI"}
    flat = [[tag for tags in side for tag in tags] for side in (gold, predicted)]
    _refuse_strangers(set(flat[0]) | set(flat[1]), codes, "tags")
    tags = [np.array([codes[tag] for tag in side], np.int64).reshape(-1, 2) for side in flat]
    return TagLabels(
        gold=tags[0],
        predicted=tags[1],
        grouping=Grouping(of_sentences.of_unit[sentence], of_sentences.size, of_sentences.names),
        classes=tuple(types),
        sentence=sentence,
    )


def word_class(tag: str) -> str:
    """The class of a tag with B- and I- merged: B-DNA and I-DNA are DNA."""
    return tag if tag == "O" else tag[2:]


def indicators(sets: Sequence[Collection[str]], classes: Sequence[str]) -> np.ndarray:
    """uint8 [units, classes]: 1 where a unit has a class."""
    rows = [[name in names for name in classes] for names in sets]
    return np.array(rows, np.uint8).reshape(-1, len(classes))


@dataclass(frozen=True, eq=False)
class _Entities:
    """bool [words], whether an entity begins; int64 [words], the word after the last one if so."""

    begins: np.ndarray
    end: np.ndarray


def _entities(tags: np.ndarray, sentence: np.ndarray) -> _Entities:
    """The entities of strict IOB2: each begins with B-. An I- goes on with what stands before it in the same
    sentence, if that is of its type; an I- that goes on with nothing is no entity."""
    prefix, kind = tags.T
    goes_on = np.zeros(len(tags), bool)
    goes_on[1:] = (
        (prefix[1:] == INSIDE)
        & (prefix[:-1] != OUTSIDE)
        & (kind[1:] == kind[:-1])
        & (sentence[1:] == sentence[:-1])
    )
    breaks = np.append(np.flatnonzero(~goes_on), len(tags))
    end = breaks[np.searchsorted(breaks, np.arange(len(tags)), side="right")]
    return _Entities(prefix == BEGIN, end)


def _grouping(groups: Names | None, units: int) -> Grouping:
    if groups is None:
        return Grouping(np.arange(units), units)
    if len(groups) != units:
        raise InputError(f"{units} units, but {len(groups)} in groups")
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    return Grouping(number, len(names), tuple(map(str, names.tolist())))


def _numbers(names: Names, classes: Sequence[str]) -> np.ndarray:
    if isinstance(names, np.ndarray) and names.dtype.kind in "iu":
        return names.astype(np.int64)
    place = {name: number for number, name in enumerate(classes)}
    _refuse_strangers(set(names), place, "labels")
    return np.array([place[name] for name in names], np.int64)


def _is_in(sets: Sequence[Collection[str]] | np.ndarray, classes: Sequence[str]) -> np.ndarray:
    if isinstance(sets, np.ndarray):
        return sets > 0
    _refuse_strangers({name for names in sets for name in names}, classes, "labels")
    return indicators(sets, classes) > 0


def _refuse_strangers(names: Collection[Any], classes: Collection[Any], what: str) -> None:
    strange = sorted(map(str, set(names) - set(classes)))
    if strange:
        raise InputError(
            f"{what} that the task does not have: {', '.join(strange)}; it has {', '.join(map(str, classes))}"
        )


def _refuse_lengths(gold: np.ndarray, predicted: np.ndarray) -> None:
    if len(gold) != len(predicted):
        raise InputError(f"{len(gold)} gold labels, but {len(predicted)} predictions")
