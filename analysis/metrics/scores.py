"""Every metric, named as published. Each function returns {metric name: value}; scores are in 0..1."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

# scikit-learn, seqeval and scipy.stats are imported where a score is computed: tasks and suites are read
# without them.

# The first of these that a task has is what it is compared by, fine-tuned and probed.
PRIMARY = ("entity_f1", "pearson", "micro_f1", "accuracy")
PROBE_PRIMARY = ("token_macro_f1", "pearson", "micro_f1", "accuracy")

FULL_NAMES = {
    "accuracy": "accuracy",
    "across_segments": "attention to the other text, share",
    "also_in_train": "share of the texts that are training texts word for word",
    "centre_of_gravity": "centre of gravity of the layer weights of a scalar mix (Tenney et al. 2019)",
    "class_f1": "F1 of one class",
    "class_precision": "precision of one class",
    "class_recall": "recall of one class",
    "class_support": "gold examples of one class",
    "codelength": "online description length of the training labels, bits (Voita & Titov 2020)",
    "compression": "uniform code over online codelength",
    "control_accuracy": "accuracy on the control task, a random label per word type (Hewitt & Liang 2019)",
    "cosine": "cosine of flattened attention maps, before and after",
    "distance": "mean distance that is attended over, tokens",
    "distinct_2": "distinct bigrams over bigrams, of generated text",
    "entity_f1": "entity F1, exact span and type (strict IOB2), micro",
    "entity_f1_untyped": "entity F1, exact span, types ignored",
    "entity_precision": "entity precision, exact span and type (strict IOB2), micro",
    "entity_recall": "entity recall, exact span and type (strict IOB2), micro",
    "entropy": "entropy of attention rows over the log of their visible keys",
    "example_f1": "example-based F1 over documents",
    "example_precision": "example-based precision over documents",
    "example_recall": "example-based recall over documents",
    "exact_match": "share of examples with exactly the gold classes",
    "generated_tokens": "tokens per generated text",
    "jensen_shannon": "Jensen-Shannon divergence of attention rows, before and after, over ln 2",
    "l1": "L1 distance of attention rows, before and after",
    "linear_cka": "linear CKA of hidden states, debiased (Kornblith et al. 2019)",
    "loss": "cross-entropy per predicted token, nats",
    "macro_f1": "macro F1",
    "majority_accuracy": "accuracy of always answering the most frequent class",
    "majority_macro_f1": "macro F1 of always answering the most frequent class",
    "micro_f1": "micro F1 (of a relation task: over the positive classes)",
    "micro_precision": "micro precision over the positive classes",
    "micro_recall": "micro recall over the positive classes",
    "mix_weight": "weight of a layer in a scalar mix",
    "pearson": "Pearson correlation",
    "perplexity": "perplexity",
    "random_label_accuracy": "accuracy on a random label per example",
    "random_label_selectivity": "accuracy minus that on a random label per example",
    "rbf_cka": "centred kernel alignment, Gaussian kernels (Kornblith et al. 2019)",
    "repeated_4grams": "share of 4-grams of a generated text that it had before",
    "rsa": "correlation of dissimilarities between tokens (Kriegeskorte et al. 2008)",
    "samples_f1": "F1 of each example's classes, averaged",
    "selectivity": "accuracy minus that on the control task (Hewitt & Liang 2019)",
    "spearman": "Spearman rank correlation",
    "strength": "inverse regularisation of the probe, chosen on dev",
    "to_entities": "attention to words of entities, share",
    "to_next": "attention to the next token, share",
    "to_previous": "attention to the previous token, share",
    "to_self": "attention to the same token, share",
    "to_special": "attention to special tokens, share",
    "token_accuracy": "share of predicted tokens that are right",
    "token_macro_f1": "token macro F1, B- and I- merged, O included",
    "token_micro_f1": "token micro F1, B- and I- merged, O included",
    "truncated_words": "words beyond max_length, counted as missed",
    "weighted_f1": "F1 over classes, weighted by support",
}
Table = dict[str, dict[str, float]]  # class -> precision, recall, f1, support

Tags = Sequence[Sequence[str]]
Sets = Sequence[Any]  # of class names
Labels = Sequence[Any] | np.ndarray  # one of each unit


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


def token_scores(gold: Labels, predicted: Labels, classes: Sequence) -> dict[str, float]:
    """Macro and micro F1 over `classes`; a class that occurs in neither gold nor prediction is left out."""
    present = _occurring(gold) | _occurring(predicted)
    labels = [c for c in classes if c in present]
    return {
        "token_macro_f1": _f1(gold, predicted, "macro", labels),
        "token_micro_f1": _f1(gold, predicted, "micro", labels),
    }


def class_scores(gold: Labels, predicted: Labels) -> dict[str, float]:
    """Accuracy, and F1 averaged over the classes of the gold labels without weights."""
    from sklearn.metrics import accuracy_score

    labels = sorted(_occurring(gold))
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "macro_f1": _f1(gold, predicted, "macro", labels),
    }


def relation_scores(gold: Labels, predicted: Labels, positive: Sequence) -> dict[str, float]:
    """Precision, recall and F1 over the positive classes only, micro-averaged as in BLUE, and macro F1 over
    those that occur in the gold labels; 0 where none does."""
    from sklearn.metrics import accuracy_score
    from sklearn.metrics import precision_recall_fscore_support as sklearn_scores

    present = _occurring(gold)
    occurring = [name for name in positive if name in present]
    options = {"labels": list(positive), "average": "micro", "zero_division": 0}
    precision, recall, f1, _ = sklearn_scores(gold, predicted, **options)
    return {
        "micro_f1": float(f1),
        "micro_precision": float(precision),
        "micro_recall": float(recall),
        "macro_f1": _f1(gold, predicted, "macro", occurring) if occurring else 0.0,
        "accuracy": float(accuracy_score(gold, predicted)),
    }


def multi_label_scores(gold: Sets, predicted: Sets, classes: Sequence[str]) -> dict[str, float]:
    """F1 over indicators: micro, macro, weighted by support, and averaged over examples (an example with
    neither gold nor predicted classes counts 1); and the share of exactly right examples."""
    from sklearn.metrics import f1_score

    true, found = indicators(gold, classes), indicators(predicted, classes)
    averages = {
        f"{average}_f1": float(f1_score(true, found, average=average, zero_division=0))
        for average in ("micro", "macro", "weighted")
    }
    samples = float(f1_score(true, found, average="samples", zero_division=1))
    return averages | {"samples_f1": samples, "exact_match": float((true == found).all(axis=1).mean())}


def example_scores(gold: Sets, predicted: Sets, documents: Sequence[str]) -> dict[str, float]:
    """Example-based precision, recall and F1 (BLUE, Hallmarks of Cancer): the classes of a document are
    those of all its rows; precision and recall are averaged over documents, F1 is of these averages.

    A document without predicted classes has precision 1 if it has no gold classes, else 0; recall likewise.
    """
    true: dict[str, set[str]] = {document: set() for document in documents}
    found: dict[str, set[str]] = {document: set() for document in documents}
    for names, guesses, document in zip(gold, predicted, documents, strict=True):
        true[document].update(names)
        found[document].update(guesses)
    pairs = [(true[d], found[d]) for d in true]
    precision = float(np.mean([_share(t & f, f, t) for t, f in pairs]))
    recall = float(np.mean([_share(t & f, t, f) for t, f in pairs]))
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"example_f1": f1, "example_precision": precision, "example_recall": recall}


def _share(common: set[str], of: set[str], other: set[str]) -> float:
    return len(common) / len(of) if of else float(not other)


def regression_scores(gold: Labels, predicted: Labels) -> dict[str, float]:
    """Pearson and Spearman correlation; 0 where one side does not vary."""
    from scipy import stats

    if len(_occurring(gold)) < 2 or len(_occurring(predicted)) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(stats.pearsonr(gold, predicted).statistic),
        "spearman": float(stats.spearmanr(gold, predicted).statistic),
    }


def per_class(gold: Sequence, predicted: Sequence, classes: Sequence[str]) -> Table:
    """Precision, recall, F1 and support of each class."""
    from sklearn.metrics import precision_recall_fscore_support as sklearn_scores

    return _table(classes, sklearn_scores(gold, predicted, labels=list(classes), zero_division=0))


def per_class_of_sets(gold: Sets, predicted: Sets, classes: Sequence[str]) -> Table:
    """The same where an example has any number of classes."""
    from sklearn.metrics import precision_recall_fscore_support as sklearn_scores

    true, found = indicators(gold, classes), indicators(predicted, classes)
    return _table(classes, sklearn_scores(true, found, average=None, zero_division=0))


def per_entity_type(gold: Tags, predicted: Tags, types: Sequence[str]) -> Table:
    """Precision, recall, F1 and support (entities) of each entity type, exact span, strict IOB2."""
    table = {}
    for kind in types:
        true, found = (
            [[t if merge(t) == kind else "O" for t in tags] for tags in side] for side in (gold, predicted)
        )
        precision, recall, f1 = _strict(true, found)
        support = sum(tag == f"B-{kind}" for tags in gold for tag in tags)
        table[kind] = {"precision": precision, "recall": recall, "f1": f1, "support": float(support)}
    return table


def indicators(sets: Sets, classes: Sequence[str]) -> np.ndarray:
    """uint8 [examples, classes]: 1 where an example has a class."""
    return np.array([[name in names for name in classes] for names in sets], np.uint8).reshape(
        -1, len(classes)
    )


def _occurring(labels: Labels) -> set:
    return set(np.unique(labels).tolist() if isinstance(labels, np.ndarray) else labels)


def _table(classes: Sequence[str], scores: tuple) -> Table:
    columns = ("precision", "recall", "f1", "support")
    return {
        name: {column: float(values[number]) for column, values in zip(columns, scores, strict=True)}
        for number, name in enumerate(classes)
    }


def merge(tag: str) -> str:
    """The class of a tag with B- and I- merged: B-DNA and I-DNA are DNA."""
    return tag if tag == "O" else tag[2:]


def _f1(gold: Labels, predicted: Labels, average: str, labels: Sequence) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(gold, predicted, average=average, labels=list(labels), zero_division=0))


def _strict(gold: Tags, predicted: Tags) -> tuple[float, float, float]:
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

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
