"""Every metric, named as published. Each function returns {metric name: value}; scores are in 0..1."""

import warnings
from collections.abc import Sequence

import numpy as np
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score, f1_score

# The first of these that a task has is what it is compared by.
PRIMARY = ("entity_f1", "accuracy", "pearson", "micro_f1", "example_f1")

Tags = Sequence[Sequence[str]]


def entity_scores(gold: Tags, predicted: Tags) -> dict[str, float]:
    """Entity precision, recall and F1, micro-averaged: exact span and type, strict IOB2 (seqeval).

    `entity_f1_untyped` asks for the span only, as BLURB scores JNLPBA. A predicted I- that continues no
    entity counts as no entity.
    """
    precision, recall, f1 = _strict(gold, predicted)
    untyped = _strict(_without_type(gold), _without_type(predicted))
    return {
        "entity_f1": f1,
        "entity_precision": precision,
        "entity_recall": recall,
        "entity_f1_untyped": untyped[2],
    }


def merged_token_scores(gold: Tags, predicted: Tags, types: Sequence[str]) -> dict[str, float]:
    """Token F1 over entity types with B- and I- merged, and O: macro and micro (Bonfigli et al. 2024).

    Six classes for the five types of JNLPBA. Micro over all classes equals token accuracy.
    """
    classes = ["O", *types]
    flat_gold = [merge(tag) for tags in gold for tag in tags]
    flat_predicted = [merge(tag) for tags in predicted for tag in tags]
    return token_scores(flat_gold, flat_predicted, classes)


def token_scores(gold: Sequence, predicted: Sequence, classes: Sequence) -> dict[str, float]:
    """Macro and micro F1 over `classes`; a class that occurs in neither gold nor prediction is left out."""
    present = set(gold) | set(predicted)
    labels = [c for c in classes if c in present]
    return {
        "token_macro_f1": _f1(gold, predicted, "macro", labels),
        "token_micro_f1": _f1(gold, predicted, "micro", labels),
    }


def class_scores(gold: Sequence, predicted: Sequence) -> dict[str, float]:
    """Accuracy, and F1 averaged over the classes of the gold labels without weights."""
    labels = sorted(set(gold))
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "macro_f1": _f1(gold, predicted, "macro", labels),
    }


def merge(tag: str) -> str:
    """The class of a tag with B- and I- merged: B-DNA and I-DNA are DNA."""
    return tag if tag == "O" else tag[2:]


def _f1(gold: Sequence, predicted: Sequence, average: str, labels: Sequence) -> float:
    return float(f1_score(gold, predicted, average=average, labels=list(labels), zero_division=0))


def _strict(gold: Tags, predicted: Tags) -> tuple[float, float, float]:
    if not any(tag != "O" for tags in gold for tag in tags):
        return 0.0, 0.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model that predicts no entity has precision 0, as asked for
        scores = precision_recall_fscore_support(
            [list(tags) for tags in gold],
            [list(tags) for tags in predicted],
            average="micro",
            scheme=IOB2,
            zero_division=0,
        )
    precision, recall, f1 = (float(np.asarray(score)) for score in scores[:3])
    return precision, recall, f1


def _without_type(sentences: Tags) -> list[list[str]]:
    return [[tag if tag == "O" else f"{tag[0]}-entity" for tag in tags] for tags in sentences]
