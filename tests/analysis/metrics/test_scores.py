import pytest

from microtome.analysis.metrics.scores import (
    FULL_NAMES,
    class_scores,
    entity_scores,
    example_scores,
    merged_token_scores,
    multi_label_scores,
    per_class,
    per_class_of_sets,
    per_entity_type,
    regression_scores,
    relation_scores,
    token_scores,
)

GOLD = [["B-DNA", "I-DNA", "O", "B-RNA"], ["O", "B-DNA", "B-DNA"]]


def test_exact_span_and_type_are_needed():
    # predicted: right span and type; right span, wrong type; wrong span -> 1 of 4 gold, 1 of 3 predicted
    predicted = [["B-DNA", "I-DNA", "O", "B-DNA"], ["O", "B-DNA", "I-DNA"]]
    scores = entity_scores(GOLD, predicted)
    assert scores["entity_precision"] == pytest.approx(1 / 3)
    assert scores["entity_recall"] == pytest.approx(1 / 4)
    assert scores["entity_f1"] == pytest.approx(2 / 7)
    assert scores["entity_f1_untyped"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_strict_iob2_gives_no_entity_for_an_inside_tag_without_a_beginning():
    predicted = [["I-DNA", "I-DNA", "O", "B-RNA"], ["O", "B-DNA", "B-DNA"]]
    assert entity_scores(GOLD, predicted)["entity_recall"] == pytest.approx(3 / 4)
    assert entity_scores(GOLD, predicted)["entity_precision"] == 1.0


def test_perfect_and_empty_predictions():
    assert set(entity_scores(GOLD, GOLD).values()) == {1.0}
    nothing = [["O"] * len(tags) for tags in GOLD]
    assert set(entity_scores(GOLD, nothing).values()) == {0.0}
    assert set(entity_scores(nothing, GOLD).values()) == {0.0}


def test_merged_token_scores_over_types_and_o():
    predicted = [["I-DNA", "B-DNA", "O", "O"], ["O", "B-RNA", "B-DNA"]]
    # gold     DNA DNA O RNA | O DNA DNA ; predicted DNA DNA O O | O RNA DNA
    scores = merged_token_scores(GOLD, predicted, ["DNA", "RNA", "protein"])
    f1 = {"O": 2 * 2 / (2 * 2 + 1), "DNA": 2 * 3 / (2 * 3 + 1), "RNA": 0.0}
    assert scores["token_macro_f1"] == pytest.approx(sum(f1.values()) / 3)
    assert scores["token_micro_f1"] == pytest.approx(5 / 7)


def test_a_class_that_never_occurs_is_not_averaged():
    assert token_scores([0, 1], [0, 1], range(5))["token_macro_f1"] == 1.0


def test_class_scores():
    scores = class_scores(["a", "a", "b", "c"], ["a", "b", "b", "b"])
    assert scores["accuracy"] == 0.5
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)


def test_relation_scores_leave_the_negative_class_out():
    gold = ["false", "A", "A", "B", "false", "B"]
    predicted = ["A", "A", "false", "A", "false", "B"]
    # positives predicted: A A A B; right: A, B -> precision 2/4; gold positives 4 -> recall 2/4
    scores = relation_scores(gold, predicted, ["A", "B", "C"])
    assert scores["micro_precision"] == pytest.approx(2 / 4)
    assert scores["micro_recall"] == pytest.approx(2 / 4)
    assert scores["micro_f1"] == pytest.approx(1 / 2)
    # A: 1 of 3 predicted, 1 of 2 gold -> .4; B: 1 of 1, 1 of 2 -> 2/3; C never occurs
    assert scores["macro_f1"] == pytest.approx((0.4 + 2 / 3) / 2)
    assert scores["accuracy"] == pytest.approx(3 / 6)


@pytest.mark.filterwarnings("error")
def test_relation_scores_without_a_gold_relation_are_zero():
    for predicted in (["false", "false"], ["false", "A"]):
        scores = relation_scores(["false", "false"], predicted, ["A", "B"])
        accuracy = scores.pop("accuracy")
        assert accuracy == predicted.count("false") / 2
        assert set(scores.values()) == {0.0}


def test_multi_label_averages():
    gold = [("a",), ("a", "b"), ()]
    predicted = [("a",), ("b", "c"), ()]
    scores = multi_label_scores(gold, predicted, ["a", "b", "c"])
    # a: 1 right of 1 predicted and 2 gold -> 2/3; b: 1; c: 1 predicted, none gold -> 0
    assert scores["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores["weighted_f1"] == pytest.approx((2 * 2 / 3 + 1 * 1) / 3)
    assert scores["samples_f1"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert scores["exact_match"] == pytest.approx(2 / 3)


def test_example_scores_join_the_rows_of_a_document():
    gold = [("a",), ("b",), (), ("c",), ()]
    predicted = [("a",), (), (), ("a", "c"), ()]
    documents = ["1", "1", "2", "3", "4"]
    # 1: gold ab, found a -> p 1, r 1/2; 2: nothing in either -> 1, 1; 3: gold c, found ac -> 1/2, 1; 4: 1, 1
    scores = example_scores(gold, predicted, documents)
    precision, recall = (1 + 1 + 1 / 2 + 1) / 4, (1 / 2 + 1 + 1 + 1) / 4
    assert scores["example_precision"] == pytest.approx(precision)
    assert scores["example_recall"] == pytest.approx(recall)
    assert scores["example_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    missed = example_scores([("a",)], [()], ["1"])
    assert set(missed.values()) == {0.0}
    assert example_scores([()], [("a",)], ["1"])["example_recall"] == 0.0


def test_correlations():
    scores = regression_scores([1.0, 2.0, 3.0, 5.0], [1.0, 3.0, 2.0, 6.0])
    # deviations from the means 2.75 and 3: sum of products 10, of squares 8.75 and 14
    assert scores["pearson"] == pytest.approx(10 / (8.75 * 14) ** 0.5)
    assert scores["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert set(regression_scores([1.0, 1.0], [1.0, 2.0]).values()) == {0.0}


def test_tables_by_class():
    table = per_class(["x", "x", "y"], ["x", "y", "y"], ["x", "y", "z"])
    assert table["x"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert table["y"] == {"precision": 0.5, "recall": 1, "f1": pytest.approx(2 / 3), "support": 1}
    assert table["z"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    of_sets = per_class_of_sets([("x",), ("x", "y")], [("x",), ("y",)], ["x", "y"])
    assert of_sets["x"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    entities = per_entity_type(GOLD, [["B-DNA", "I-DNA", "O", "O"], ["O", "B-RNA", "B-DNA"]], ["DNA", "RNA"])
    assert entities["DNA"] == {"precision": 1, "recall": pytest.approx(2 / 3), "f1": 0.8, "support": 3}
    assert entities["RNA"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}


def test_every_metric_has_a_full_name():
    scores = [
        entity_scores(GOLD, GOLD),
        merged_token_scores(GOLD, GOLD, ["DNA", "RNA"]),
        class_scores(["x"], ["x"]),
        relation_scores(["x"], ["x"], ["x"]),
        multi_label_scores([("x",)], [("x",)], ["x", "y"]),
        example_scores([("x",)], [("x",)], ["1"]),
        regression_scores([1.0, 2.0], [1.0, 2.0]),
    ]
    assert set().union(*scores) <= set(FULL_NAMES)
