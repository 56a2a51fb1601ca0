"""Gold and predicted labels of the same units, in the forms that metrics are computed from; that of tagged
sentences is in tags.py.

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
        grouping=grouping_of(groups, len(numbers[0])),
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
        grouping=grouping_of(groups, len(sides[0])),
        classes=tuple(classes),
    )


def number_labels(gold: Names, predicted: Names, *, groups: Names | None = None) -> NumberLabels:
    """A number per unit."""
    sides = [np.asarray(side, np.float64) for side in (gold, predicted)]
    _refuse_lengths(*sides)
    return NumberLabels(gold=sides[0], predicted=sides[1], grouping=grouping_of(groups, len(sides[0])))


def indicators(sets: Sequence[Collection[str]], classes: Sequence[str]) -> np.ndarray:
    """uint8 [units, classes]: 1 where a unit has a class."""
    rows = [[name in names for name in classes] for names in sets]
    return np.array(rows, np.uint8).reshape(-1, len(classes))


def grouping_of(groups: Names | None, units: int) -> Grouping:
    """The example of each of so many units; without names every unit is one."""
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
    refuse_strangers(set(names), place, "labels")
    return np.array([place[name] for name in names], np.int64)


def _is_in(sets: Sequence[Collection[str]] | np.ndarray, classes: Sequence[str]) -> np.ndarray:
    if isinstance(sets, np.ndarray):
        return sets > 0
    refuse_strangers({name for names in sets for name in names}, classes, "labels")
    return indicators(sets, classes) > 0


def refuse_strangers(names: Collection[Any], classes: Collection[Any], what: str) -> None:
    """InputError for names that are no classes of the task."""
    strange = sorted(map(str, set(names) - set(classes)))
    if strange:
        raise InputError(
            f"{what} that the task does not have: {', '.join(strange)}; it has {', '.join(map(str, classes))}"
        )


def _refuse_lengths(gold: np.ndarray, predicted: np.ndarray) -> None:
    if len(gold) != len(predicted):
        raise InputError(f"{len(gold)} gold labels, but {len(predicted)} predictions")
