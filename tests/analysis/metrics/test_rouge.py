import pytest

from microtome.analysis.metrics import METRICS
from microtome.analysis.metrics.rouge import VARIANTS, rouge


def test_scores_by_hand():
    # words: 3 shared of 4 and 4; pairs: "the cat" of 3 and 3; longest sequence: the cat mat
    scores = rouge(["the cat saw mat"], ["the cat liked mat"])
    assert scores == {
        "rouge_1": pytest.approx(3 / 4),
        "rouge_2": pytest.approx(1 / 3),
        "rouge_l": pytest.approx(3 / 4),
    }


def test_words_are_stemmed_and_texts_averaged():
    assert rouge(["treating patients", ""], ["treated patient", "anything"]) == {
        "rouge_1": 0.5,
        "rouge_2": 0.5,
        "rouge_l": 0.5,
    }


def test_every_variant_is_a_metric():
    assert all(METRICS[name].bounds == (0, 1) for name in VARIANTS)


def test_each_text_has_a_reference():
    with pytest.raises(ValueError, match="shorter"):
        rouge(["a", "b"], ["a"])
