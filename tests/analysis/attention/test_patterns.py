import math
from dataclasses import replace

import numpy as np
import pytest

from microtome.analysis.attention.patterns import ExamplePatterns, TokenFacts, Tokens, share_of_special

NAMES = ("entropy", "distance", "to_previous", "to_self", "to_next", "across_segments", "to_entities")
# Two heads over three tokens.
MAPS = np.array(
    [
        [[0.5, 0.5, 0], [0.25, 0.5, 0.25], [0, 0, 1]],
        [[0, 0, 1], [1, 0, 0], [1, 0, 0]],
    ],
    np.float32,
)
THREE = Tokens(
    positions=np.arange(3),
    segments=np.array([0, 1, 1]),
    special=np.zeros(3, bool),
    entities=np.array([True, False, False]),
    causal=False,
)


def measure(maps, tokens, names=NAMES, kept=None):
    kept = np.ones(maps.shape[:2], bool) if kept is None else np.array(kept)
    return ExamplePatterns(names, tokens).measure(np.asarray(maps, np.float32), kept)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("entropy", [(math.log(2) + 1.5 * math.log(2)) / (3 * math.log(3)), 0]),
        ("distance", [(0.5 + 0.5 + 0) / 3, (2 + 1 + 2) / 3]),
        ("to_previous", [(0 + 0.25 + 0) / 3, 1 / 3]),
        ("to_self", [(0.5 + 0.5 + 1) / 3, 0]),
        ("to_next", [(0.5 + 0.25 + 0) / 3, 0]),
        ("across_segments", [(0.5 + 0.25 + 0) / 3, 1]),
        ("to_entities", [(0.5 + 0.25 + 0) / 3, 2 / 3]),
    ],
)
def test_each_pattern_by_hand(name, wanted):
    found = measure(MAPS, THREE, (name,))
    assert set(found) == {name}
    np.testing.assert_allclose(found[name], wanted, rtol=1e-6)


def test_entropy_of_a_causal_map_is_over_the_keys_up_to_the_query():
    causal = np.array([[[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]])
    seen = measure(causal, replace(THREE, causal=True), ("entropy",))["entropy"]
    every = measure(causal, THREE, ("entropy",))["entropy"]
    np.testing.assert_allclose(seen, (0 + 1 + 1) / 3, rtol=1e-6)
    np.testing.assert_allclose(every, (0 + math.log(2) / math.log(3) + 1) / 3, rtol=1e-6)


def test_distance_counts_the_tokens_between_also_those_that_are_left_out():
    four = Tokens(np.arange(4), np.zeros(4), np.array([False, True, False, False]), None, False)
    inside = four.only(np.flatnonzero(~four.special))
    found = measure(np.array([[[0, 1, 0], [0, 0, 1], [1, 0, 0]]]), inside, ("distance", "to_next"))
    assert found["distance"] == pytest.approx((2 + 1 + 3) / 3)
    assert found["to_next"] == pytest.approx(1 / 3)


def test_rows_that_are_left_out_do_not_count():
    maps = MAPS.copy()
    maps[0, 2] = 0
    found = measure(maps, THREE, kept=[[True, True, False], [True, True, True]])
    assert found["to_self"][0] == pytest.approx(0.5)
    assert found["entropy"][0] == pytest.approx(2.5 * math.log(2) / (2 * math.log(3)))
    nothing = measure(np.zeros((1, 3, 3)), THREE, kept=[[False] * 3])
    assert all(np.isnan(values) for values in nothing.values())


def test_patterns_that_an_example_does_not_have():
    plain = replace(THREE, segments=np.zeros(3), entities=None)
    assert set(measure(MAPS, plain)) == set(NAMES) - {"across_segments", "to_entities"}
    one_text = replace(THREE, special=np.array([True, False, False]))
    assert "across_segments" not in measure(MAPS, one_text)


def test_a_special_token_is_no_part_of_the_other_text():
    kept = replace(THREE, segments=np.array([0, 1, 1]), special=np.array([False, False, True]))
    found = measure(MAPS, kept, ("across_segments",))["across_segments"]
    np.testing.assert_allclose(found, [(0.5 + 0.25 + 0) / 3, 2 / 3])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_share_of_special_tokens_is_over_all_rows(dtype):
    special = np.array([True, False, True])
    found = share_of_special(MAPS.astype(dtype), special)
    np.testing.assert_allclose(found, [(0.5 + 0.5 + 1) / 3, 1], rtol=1e-6)


def test_facts_of_a_cache_are_those_of_its_examples(make_cache):
    words = [-1, 0, 0, 1, -1, -1, 0, 1, -1]
    labelled = {"labels": [0, 1, 0, 2, 0], "classes": ["O", "B-a", "I-a"]}
    more = {"words_per_example": [2, 3]}  # the last word was cut off
    hidden = np.zeros((1, 9, 2), np.float32)
    cache = make_cache("ner", hidden, [5, 4], words=words, **labelled, **more)
    facts = TokenFacts.of(cache, causal=False)
    assert facts.example(0).entities.tolist() == [False, False, False, True, False]
    assert facts.example(1).entities.tolist() == [False, False, True, False]
    assert facts.example(1).special.tolist() == [True, False, False, True]
    assert facts.example(1).positions.tolist() == [0, 1, 2, 3]

    texts = make_cache("nli", hidden, [5, 4], words=words, labels=[0, 1], classes=["no", "yes"], unit="text")
    assert TokenFacts.of(texts, causal=True).example(0).entities is None
    assert TokenFacts.of(texts, causal=True).example(0).causal
