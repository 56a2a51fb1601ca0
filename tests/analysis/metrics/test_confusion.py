"""Which class is taken for which."""

import numpy as np
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from microtome.analysis.metrics.confusion import class_rows, confusion_matrix, confusion_rows
from microtome.analysis.metrics.labels import class_labels, number_labels, set_labels
from microtome.analysis.metrics.tags import tag_labels


def test_the_matrix_is_that_of_scikit_learn():
    gold, predicted = np.random.default_rng(0).integers(0, 4, (2, 500))
    expected = sklearn_confusion_matrix(gold, predicted, labels=range(4))
    assert (confusion_matrix(class_labels(gold, predicted, "abcd")) == expected).all()


def test_pairs_that_occur_have_rows_and_n_is_that_of_the_gold_class():
    rows = list(confusion_rows(class_labels(list("aab"), list("aba"), "abc")))
    cells = {(row["label"], row["predicted_label"]): (row["value"], row["n"]) for row in rows}
    assert cells == {("a", "a"): (1, 2), ("a", "b"): (1, 2), ("b", "a"): (1, 1)}


def test_of_tagged_sentences_words_are_counted():
    labels = tag_labels([["B-x", "I-x", "O"]], [["B-x", "O", "B-y"]], ["x", "y"])
    cells = {(row["label"], row["predicted_label"]): row["value"] for row in confusion_rows(labels)}
    assert cells == {("x", "x"): 1, ("x", "O"): 1, ("O", "y"): 1}


def test_sets_have_scores_by_class_but_no_matrix_and_numbers_neither():
    sets = list(class_rows(set_labels([["a"], ["b"]], [["a"], []], "ab")))
    assert {row["metric"] for row in sets} == {
        "class_precision",
        "class_recall",
        "class_f1",
        "class_support",
    }
    assert not list(class_rows(number_labels([1.0, 2.0], [1.0, 3.0])))
