"""Scores counted out by hand."""

import pytest

from microtome.analysis.metrics.labels import class_labels, number_labels, set_labels
from microtome.analysis.metrics.scoring import by_class, score, scores
from microtome.analysis.metrics.tags import tag_labels
from microtome.store.errors import InputError

GOLD = [["B-DNA", "I-DNA", "O", "B-RNA"], ["O", "B-DNA", "B-DNA"]]
TYPES = ["DNA", "RNA", "protein"]
ENTITY = ("entity_f1", "entity_precision", "entity_recall", "entity_f1_untyped")


def test_exact_span_and_type_are_needed():
    # predicted: right span and type; right span, wrong type; wrong span -> 1 of 4 gold, 1 of 3 predicted
    predicted = [["B-DNA", "I-DNA", "O", "B-DNA"], ["O", "B-DNA", "I-DNA"]]
    values = scores(ENTITY, tag_labels(GOLD, predicted, TYPES))
    assert values["entity_precision"] == pytest.approx(1 / 3)
    assert values["entity_recall"] == pytest.approx(1 / 4)
    assert values["entity_f1"] == pytest.approx(2 / 7)
    assert values["entity_f1_untyped"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_strict_iob2_gives_no_entity_for_an_inside_tag_without_a_beginning():
    predicted = [["I-DNA", "I-DNA", "O", "B-RNA"], ["O", "B-DNA", "B-DNA"]]
    values = scores(ENTITY, tag_labels(GOLD, predicted, TYPES))
    assert values["entity_recall"] == pytest.approx(3 / 4)
    assert values["entity_precision"] == 1.0


def test_an_entity_does_not_go_on_in_the_next_sentence():
    together, apart = [["B-DNA", "I-DNA"]], [["B-DNA"], ["I-DNA"]]
    assert score("entity_f1", tag_labels(together, together, TYPES)) == 1
    labels = tag_labels(apart, [["B-DNA"], ["O"]], TYPES)
    assert score("entity_f1", labels) == 1


def test_perfect_and_empty_predictions():
    assert set(scores(ENTITY, tag_labels(GOLD, GOLD, TYPES)).values()) == {1.0}
    nothing = [["O"] * len(tags) for tags in GOLD]
    assert set(scores(ENTITY, tag_labels(GOLD, nothing, TYPES)).values()) == {0.0}
    assert set(scores(ENTITY, tag_labels(nothing, GOLD, TYPES)).values()) == {0.0}


def test_token_scores_merge_b_and_i_and_include_o():
    predicted = [["I-DNA", "B-DNA", "O", "O"], ["O", "B-RNA", "B-DNA"]]
    # gold     DNA DNA O RNA | O DNA DNA ; predicted DNA DNA O O | O RNA DNA
    labels = tag_labels(GOLD, predicted, TYPES)
    f1 = {"O": 2 * 2 / (2 * 2 + 1), "DNA": 2 * 3 / (2 * 3 + 1), "RNA": 0.0}  # protein occurs nowhere
    assert score("token_macro_f1", labels) == pytest.approx(sum(f1.values()) / 3)
    assert score("token_micro_f1", labels) == pytest.approx(5 / 7)


def test_accuracy_and_macro_f1():
    labels = class_labels(["a", "a", "b", "c"], ["a", "b", "b", "b"], ["a", "b", "c", "d"])
    assert score("accuracy", labels) == 0.5
    assert score("macro_f1", labels) == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)


def test_relation_scores_leave_the_negative_class_out():
    gold = ["false", "A", "A", "B", "false", "B"]
    predicted = ["A", "A", "false", "A", "false", "B"]
    labels = class_labels(gold, predicted, ["false", "A", "B", "C"], first_counted=1)
    # positives predicted: A A A B; right: A, B -> precision 2/4; gold positives 4 -> recall 2/4
    assert score("micro_precision", labels) == pytest.approx(2 / 4)
    assert score("micro_recall", labels) == pytest.approx(2 / 4)
    assert score("micro_f1", labels) == pytest.approx(1 / 2)
    # A: 1 of 3 predicted, 1 of 2 gold -> .4; B: 1 of 1, 1 of 2 -> 2/3; C never occurs
    assert score("macro_f1", labels) == pytest.approx((0.4 + 2 / 3) / 2)
    assert score("accuracy", labels) == pytest.approx(3 / 6)
    assert list(by_class(labels)) == ["false", "A", "B", "C"]


def test_multi_label_averages():
    labels = set_labels([("a",), ("a", "b"), ()], [("a",), ("b", "c"), ()], ["a", "b", "c"])
    # a: 1 right of 1 predicted and 2 gold -> 2/3; b: 1; c: 1 predicted, none gold -> 0
    assert score("micro_f1", labels) == pytest.approx(2 * 2 / (3 + 3))
    assert score("macro_f1", labels) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert score("weighted_f1", labels) == pytest.approx((2 * 2 / 3 + 1 * 1) / 3)
    assert score("samples_f1", labels) == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert score("exact_match", labels) == pytest.approx(2 / 3)


def test_example_scores_join_the_rows_of_a_document():
    gold = [("a",), ("b",), (), ("c",), ()]
    predicted = [("a",), (), (), ("a", "c"), ()]
    labels = set_labels(gold, predicted, ["a", "b", "c"], groups=["1", "1", "2", "3", "4"])
    # 1: gold ab, predicted a -> p 1, r 1/2; 3: gold c, predicted ac -> 1/2, 1; 2 and 4 have no class
    precision, recall = (1 + 1 / 2) / 2, (1 / 2 + 1) / 2
    assert score("example_precision", labels) == pytest.approx(precision)
    assert score("example_recall", labels) == pytest.approx(recall)
    assert score("example_f1", labels) == pytest.approx(2 * precision * recall / (precision + recall))


def test_correlations():
    labels = number_labels([1.0, 2.0, 3.0, 5.0], [1.0, 3.0, 2.0, 6.0])
    # deviations from the means 2.75 and 3: sum of products 10, of squares 8.75 and 14
    assert score("pearson", labels) == pytest.approx(10 / (8.75 * 14) ** 0.5)
    assert score("spearman", labels) == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_tables_by_class():
    table = by_class(class_labels(["x", "x", "y"], ["x", "y", "y"], ["x", "y", "z"]))
    columns = ["class_precision", "class_recall", "class_f1", "class_support"]
    assert [table["x"][column] for column in columns] == [1, 0.5, pytest.approx(2 / 3), 2]
    assert [table["y"][column] for column in columns] == [0.5, 1, pytest.approx(2 / 3), 1]
    assert [table["z"][column] for column in columns] == [0, 0, 0, 0]
    tags = tag_labels(GOLD, [["B-DNA", "I-DNA", "O", "O"], ["O", "B-RNA", "B-DNA"]], ["DNA", "RNA"])
    assert [by_class(tags)["DNA"][column] for column in columns] == [1, pytest.approx(2 / 3), 0.8, 3]
    assert [by_class(tags)["RNA"][column] for column in columns] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: class_labels(["a"], ["x"], ["a", "b"]),
            "labels that the task does not have: x; it has a, b",
        ),
        (lambda: class_labels(["a"], ["a", "a"], ["a"]), "1 gold labels, but 2 predictions"),
        (lambda: class_labels(["a"], ["a"], ["a"], groups=[0, 1]), "1 units, but 2 in groups"),
        (lambda: set_labels([("x",)], [()], ["a"]), "labels that the task does not have: x"),
        (
            lambda: tag_labels([["B-x"]], [["O"]], ["a"]),
            "tags that the task does not have: B-x; it has O, B-a",
        ),
        (lambda: tag_labels([["O"]], [["O", "O"]], ["a"]), "predicted sentences have other numbers of words"),
        (lambda: score("accurracy", class_labels(["a"], ["a"], ["a"])), "did you mean 'accuracy'"),
        (lambda: score("cosine", class_labels(["a"], ["a"], ["a"])), "unknown score 'cosine'"),
        (lambda: score("pearson", class_labels(["a"], ["a"], ["a"])), "pearson is for NumberLabels, not for"),
        (lambda: score("class_f1", class_labels(["a"], ["a"], ["a"])), "class_f1 is of one class"),
    ],
)
def test_what_cannot_be_scored_is_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
