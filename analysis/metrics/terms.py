"""Scores as sums over examples: what each example adds, and the formula that makes the score of the sums.

What statistics.py resamples. The scores of all resamples are then one matrix product: how often each resample
holds each example, [resamples, examples], times what each example adds, [examples, k].
"""

import io
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtome.analysis.metrics.scores import indicators, merge
from microtome.store.artifacts.store import Artifact
from microtome.store.errors import InputError
from microtome.store.identity import digest
from microtome.store.results import SUMMED

CONSTANT = 1e-12  # a variance below this share of the mean square is rounding

MICRO = {
    "micro_f1": "f1",
    "micro_precision": "precision",
    "micro_recall": "recall",
    "token_micro_f1": "f1",
}
ENTITY = {
    "entity_f1": "f1",
    "entity_f1_untyped": "f1",
    "entity_precision": "precision",
    "entity_recall": "recall",
}
BY_CLASS = {
    "macro_f1": "macro_f1_of_gold",
    "token_macro_f1": "macro_f1_of_present",
    "weighted_f1": "weighted_f1",
    "samples_f1": "mean",
    "exact_match": "mean",
}
OF_GOLD = ("macro_f1", "weighted_f1")  # where no classes are named, those of the gold labels
DOCUMENT = {"example_f1": "document_f1", "example_precision": "mean", "example_recall": "mean"}


@dataclass(frozen=True, eq=False)
class Summed:
    """A score as sums over examples.

    terms     float64 [examples, k], what each example adds
    formula   what makes the score of the sums, a name in FORMULAS
    examples  digest of the examples' names in their order; empty if they have none
    """

    metric: str
    terms: np.ndarray
    formula: str
    examples: str = ""

    def value(self) -> float:
        """The score over all examples."""
        return float(self.values(np.ones((1, len(self.terms))))[0])

    def values(self, weights: np.ndarray) -> np.ndarray:
        """The score of every resample: counts float64 [resamples, examples] -> [resamples]."""
        return FORMULAS[self.formula](weights @ self.terms)


def summed(
    metric: str,
    gold: Sequence[Any] | np.ndarray,
    predicted: Sequence[Any] | np.ndarray,
    *,
    classes: Sequence[Any] | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    ids: Sequence[str] | None = None,
) -> Summed | None:
    """A metric of analysis/metrics/scores.py as sums; None for what is no function of sums over examples.

    `gold`, `predicted` and `classes` are what the metric's own function there takes:

    entity_scores        sentences of tags
    merged_token_scores  sentences of tags; `classes` the entity types without O
    token_scores         one class per word; `classes` all of them
    class_scores         one class per example; no `classes`
    relation_scores      one class per example; `classes` the positive ones
    multi_label_scores   sets of class names with all `classes`, or zeros and ones [examples, classes]
    example_scores       the same; `groups` the document of each row, if documents have several
    regression_scores    numbers (pearson)

    `groups` [units] names the example of each unit, so that words are resampled by sentence; examples are
    then in ascending order of their names. `ids` name the examples where groups do not. InputError if
    `classes` are needed and not given.
    """
    if metric.startswith("token_") and _is_nested(gold):
        sentences = np.arange(len(gold)) if groups is None else np.asarray(groups)
        groups = np.repeat(sentences, [len(tags) for tags in gold])
        gold, predicted = ([merge(tag) for tags in side for tag in tags] for side in (gold, predicted))
        classes = None if classes is None else ["O", *classes]
    made = _terms(metric, gold, predicted, classes, groups)
    if made is None:
        return None
    formula, terms = made
    names = np.unique(np.asarray(groups)).tolist() if ids is None and groups is not None else ids
    if names is not None and len(names) != len(terms):
        raise InputError(f"{metric}: {len(names)} names for {len(terms)} examples")
    examples = "" if names is None else digest([str(name) for name in names])
    return Summed(metric, terms, formula, examples)


def write_summed(path: Path, scores: Mapping[str, Summed]) -> None:
    """Write scores under any names to one .npz file."""
    fields = {
        "names": list(scores),
        "metrics": [score.metric for score in scores.values()],
        "formulas": [score.formula for score in scores.values()],
        "examples": [score.examples for score in scores.values()],
    }
    arrays: dict[str, Any] = {name: np.array(texts, np.str_) for name, texts in fields.items()}
    arrays |= {f"terms{number}": score.terms for number, score in enumerate(scores.values())}
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_summed(artifact: Artifact) -> dict[str, Summed]:
    """Those of an artifact; StoreError if they are not as they were written."""
    with np.load(io.BytesIO(artifact.contents.read(SUMMED)), allow_pickle=False) as arrays:
        texts = [arrays[name].tolist() for name in ("names", "metrics", "formulas", "examples")]
        return {
            name: Summed(metric, arrays[f"terms{number}"], formula, examples)
            for number, (name, metric, formula, examples) in enumerate(zip(*texts, strict=True))
        }


def _terms(
    metric: str, gold: Any, predicted: Any, classes: Sequence[Any] | None, groups: Any
) -> tuple[str, np.ndarray] | None:
    """The formula and what every example adds."""
    if metric in DOCUMENT:
        true, found = _indicated(metric, gold, predicted, classes)
        documents = _by_group(true, groups) > 0, _by_group(found, groups) > 0
        return DOCUMENT[metric], _document_terms(metric, *documents)
    if metric in ENTITY:
        formula, terms = ENTITY[metric], _entity_terms(gold, predicted, metric != "entity_f1_untyped")
    elif metric == "accuracy":
        formula, terms = "mean", _with_count(np.asarray(gold) == np.asarray(predicted))
    elif metric == "pearson":
        formula, terms = "pearson", _products(gold, predicted)
    elif metric in MICRO or metric in BY_CLASS:
        formula, terms = _class_terms(metric, gold, predicted, classes)
    else:
        return None
    return formula, _by_group(terms, groups)


def _class_terms(
    metric: str, gold: Any, predicted: Any, classes: Sequence[Any] | None
) -> tuple[str, np.ndarray]:
    true, found = _indicated(metric, gold, predicted, classes)
    both = true & found
    if metric in MICRO:
        return MICRO[metric], np.stack([side.sum(axis=1) for side in (both, found, true)], axis=1)
    if metric == "exact_match":
        return "mean", _with_count((true == found).all(axis=1))
    if metric == "samples_f1":
        size = true.sum(axis=1) + found.sum(axis=1)
        return "mean", _with_count(np.where(size > 0, 2 * both.sum(axis=1) / np.maximum(size, 1), 1))
    formula = "macro_f1" if metric == "macro_f1" and _is_nested(gold) else BY_CLASS[metric]
    return formula, np.hstack([both, found, true])


def _indicated(
    metric: str, gold: Any, predicted: Any, classes: Sequence[Any] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which classes each unit has, gold and predicted: bool [units, classes]."""
    if isinstance(gold, np.ndarray) and gold.ndim == 2:
        return gold > 0, np.asarray(predicted) > 0
    if classes is None and metric in DOCUMENT:
        classes = sorted({name for side in (gold, predicted) for names in side for name in names})
    elif classes is None and metric in OF_GOLD and not _is_nested(gold):
        classes = sorted(set(gold))
    if classes is None:
        raise InputError(f"{metric} needs the classes that it counts")
    if _is_nested(gold):
        return indicators(gold, classes) > 0, indicators(predicted, classes) > 0
    if isinstance(gold, np.ndarray) and gold.dtype.kind == "i":  # numbers of classes
        return gold[:, None] == np.asarray(classes), np.asarray(predicted)[:, None] == np.asarray(classes)
    number = {name: place for place, name in enumerate(classes)}
    true, found = (np.array([number.get(name, -1) for name in side], np.int64) for side in (gold, predicted))
    places = np.arange(len(classes))
    return true[:, None] == places, found[:, None] == places


def _is_nested(gold: Any) -> bool:
    """Whether a unit has several labels: a sentence of tags, or a set of classes."""
    if isinstance(gold, np.ndarray):
        return gold.ndim == 2
    return len(gold) > 0 and isinstance(gold[0], Sequence | Set | np.ndarray) and not isinstance(gold[0], str)


def _entity_terms(gold: Any, predicted: Any, typed: bool) -> np.ndarray:
    """Right, predicted and gold entities of each sentence: int64 [sentences, 3]."""
    rows = []
    for tags, guesses in zip(gold, predicted, strict=True):
        true, found = _entities(tags, typed), _entities(guesses, typed)
        rows.append((len(true & found), len(found), len(true)))
    return np.array(rows, np.int64).reshape(-1, 3)


def _entities(tags: Sequence[str], typed: bool) -> set[tuple[int, int, str]]:
    """First word, word after the last and type of the entities of strict IOB2 tags."""
    found, start, kind = set(), 0, None
    for place, tag in enumerate([*tags, "O"]):
        name = tag[2:] if typed else ""
        if kind is not None and not (tag[0] == "I" and name == kind):
            found.add((start, place, kind))
            kind = None
        if tag[0] == "B":
            start, kind = place, name
    return found


def _document_terms(metric: str, true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Precision, recall (or one of them) and 1 of each document, as example_scores defines them."""
    both = (true & found).sum(axis=1)
    true_size, found_size = true.sum(axis=1), found.sum(axis=1)
    precision = np.where(found_size > 0, both / np.maximum(found_size, 1), true_size == 0)
    recall = np.where(true_size > 0, both / np.maximum(true_size, 1), found_size == 0)
    sides = {"example_precision": [precision], "example_recall": [recall]}.get(metric, [precision, recall])
    return np.stack([*sides, np.ones(len(both))], axis=1)


def _products(gold: Any, predicted: Any) -> np.ndarray:
    """1, x, y, xx, yy, xy of each pair; x and y are standardised, which does not change the correlation."""
    x, y = (np.asarray(side, np.float64) for side in (gold, predicted))
    x, y = ((side - side.mean()) / (side.std() if np.ptp(side) > 0 else 1) for side in (x, y))
    return np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)


def _with_count(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def _by_group(terms: np.ndarray, groups: Any) -> np.ndarray:
    """Sums over the units of each group, groups ascending: float64 [groups, k]."""
    if groups is None:
        return terms.astype(np.float64)
    if len(groups) != len(terms):
        raise InputError(f"{len(terms)} units, but {len(groups)} in groups")
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    return np.add.reduceat(terms[order].astype(np.float64), starts, axis=0)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0 where nothing is divided by."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)


def _mean(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[:, 0], sums[:, 1])


def _document_f1(sums: np.ndarray) -> np.ndarray:
    precision, recall = _ratio(sums[:, 0], sums[:, 2]), _ratio(sums[:, 1], sums[:, 2])
    return _ratio(2 * precision * recall, precision + recall)


def _of_classes(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F1, predicted and gold units of each class: [resamples, classes]."""
    both, found, true = np.split(sums, 3, axis=1)
    return _ratio(2 * both, found + true), found, true


def _average(f1: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return _ratio((f1 * weight).sum(axis=1), weight.sum(axis=1))


def _macro(sums: np.ndarray) -> np.ndarray:
    return _of_classes(sums)[0].mean(axis=1)


def _macro_of_gold(sums: np.ndarray) -> np.ndarray:
    f1, _, true = _of_classes(sums)
    return _average(f1, true > 0)


def _macro_of_present(sums: np.ndarray) -> np.ndarray:
    f1, found, true = _of_classes(sums)
    return _average(f1, found + true > 0)


def _weighted(sums: np.ndarray) -> np.ndarray:
    f1, _, true = _of_classes(sums)
    return _average(f1, true)


def _pearson(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = sums.T
    variances = [
        np.where(n * ss - s * s > CONSTANT * n * ss, n * ss - s * s, 0) for s, ss in ((x, xx), (y, yy))
    ]
    return _ratio(n * xy - x * y, np.sqrt(variances[0] * variances[1]))


FORMULAS = {
    "mean": _mean,
    "precision": lambda sums: _ratio(sums[:, 0], sums[:, 1]),
    "recall": lambda sums: _ratio(sums[:, 0], sums[:, 2]),
    "f1": lambda sums: _ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2]),
    "document_f1": _document_f1,
    "macro_f1": _macro,
    "macro_f1_of_gold": _macro_of_gold,
    "macro_f1_of_present": _macro_of_present,
    "weighted_f1": _weighted,
    "pearson": _pearson,
}
