"""Labels that carry nothing of the task: what a probe still learns from them, it memorises."""

import numpy as np

from microtome.store.errors import InputError


def control_labels(types: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One label per type, drawn once from the empirical distribution of `labels` (Hewitt & Liang 2019).

    `types` [units] are words, or numbers of words; `labels` [units] or [units, classes], of which a whole
    row is drawn. The result is like `labels`. Words of training and test set are given together: a type
    keeps its label only within one call.
    """
    if len(types) != len(labels):
        raise InputError(f"a control task needs one type per label: {len(types)} types, {len(labels)} labels")
    distinct, of_unit = np.unique(types, return_inverse=True)
    return random_labels(labels, rng, size=len(distinct))[of_unit]


def random_labels(labels: np.ndarray, rng: np.random.Generator, size: int | None = None) -> np.ndarray:
    """`size` draws from the empirical distribution of `labels`, as many as there are labels if unset.

    A label per example, whatever the example says, is our extension of the control task to units that have
    no type, such as texts and pairs of texts. `labels` is [units] or [units, classes].
    """
    size = len(labels) if size is None else size
    return labels[rng.integers(len(labels), size=size)] if size else labels[:0]
