import pytest

from analysis.metrics import class_scores, entity_scores, merged_token_scores, token_scores

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
