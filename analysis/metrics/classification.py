"""What each unit adds to the scores of classes: of words, texts, relations, sets of classes, and entities."""

import numpy as np

from microtome.analysis.metrics.labels import ClassLabels, CountedLabels, Counts, SetLabels
from microtome.analysis.metrics.tags import TagLabels, runs_of_classes


def right_units(labels: ClassLabels | SetLabels) -> np.ndarray:
    """Right, 1."""
    return np.stack([labels.right, np.ones(len(labels), bool)], axis=1)


def right_words(labels: ClassLabels | TagLabels) -> np.ndarray:
    """Right, predicted and gold words, of all classes together."""
    return pooled(_words(labels))


def pooled(labels: CountedLabels) -> np.ndarray:
    """Right, predicted, gold, of all classes that F1 is of together: int64 [units, 3]."""
    return np.stack([side[:, labels.first_counted :].sum(axis=1) for side in _sides(labels.counts)], axis=1)


def pooled_untyped(labels: TagLabels) -> np.ndarray:
    """The same of entities whose types are ignored."""
    return pooled(labels.untyped)


def pooled_lenient(labels: TagLabels | ClassLabels) -> np.ndarray:
    """The same of entities as the script of the CoNLL tasks reads them."""
    return pooled(_tags(labels).lenient)


def overlapping(labels: TagLabels | ClassLabels) -> np.ndarray:
    """Predicted entities that share a word with a gold one of their type, predicted entities, gold entities
    that share a word with a predicted one of their type, gold entities: int64 [words, 4]."""
    counts = _tags(labels).overlap
    sides = (counts.predicted_right, counts.predicted, counts.gold_right, counts.gold)
    return np.stack(sides, axis=1).astype(np.int64)


def by_class(labels: CountedLabels) -> np.ndarray:
    """Right, predicted, gold, each of all classes that F1 is of: bool [units, 3 * classes]."""
    return np.hstack([side[:, labels.first_counted :] for side in _sides(labels.counts)])


def by_class_averaged(labels: ClassLabels | SetLabels) -> np.ndarray:
    """Those of by_class, and which classes a macro average is over: those that occur in the gold labels, or
    all of them where a unit may have any number of classes. bool [units, 4 * classes]."""
    gold = labels.counts.gold[:, labels.first_counted :]
    averaged = np.ones_like(gold) if isinstance(labels, SetLabels) else gold
    return np.hstack([by_class(labels), averaged])


def by_word_class_averaged(labels: ClassLabels | TagLabels) -> np.ndarray:
    """The same of words, where the average is over the classes that occur in gold labels or predictions."""
    words = _words(labels)
    return np.hstack([by_class(words), words.counts.gold | words.counts.predicted])


def f1_of_unit(labels: SetLabels) -> np.ndarray:
    """F1 of the unit's own classes, 1; 1 for a unit with neither gold nor predicted classes."""
    right, predicted, gold = (side.sum(axis=1) for side in _sides(labels.counts))
    size = predicted + gold
    return np.stack([np.where(size > 0, 2 * right / np.maximum(size, 1), 1), np.ones(len(labels))], axis=1)


def precision_and_recall(labels: SetLabels) -> np.ndarray:
    """Precision, recall, 1 of each document, as BLUE counts Hallmarks of Cancer: a document without gold
    classes is left out (0, 0, 0); without predicted classes the precision is 0."""
    right, predicted, gold = (side.sum(axis=1) for side in _sides(labels.counts))
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(gold, 1)
    return np.stack([precision, recall, np.ones(len(labels))], axis=1) * (gold > 0)[:, None]


def _words(labels: ClassLabels | TagLabels) -> ClassLabels:
    return labels.words if isinstance(labels, TagLabels) else labels


def _tags(labels: TagLabels | ClassLabels) -> TagLabels:
    """The tags; of classes of words, of which the first is O: every run of one class in an example is an
    entity."""
    return labels if isinstance(labels, TagLabels) else runs_of_classes(labels)


def _sides(counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return counts.right, counts.predicted, counts.gold
