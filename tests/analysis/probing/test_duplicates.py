"""Test examples whose texts a probe was fitted on: the score without them stands beside the score."""

import numpy as np
import pytest

from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig
from microtome.store.results import WITHOUT_DUPLICATES

CONFIG = ProbeConfig(codelength=False, controls=False)
WORDS, DIM = 4, 8


def cache(make_cache, name, sentences, **more):
    """One sentence for each number: equal numbers have equal states and labels, and the states of one
    sentence say nothing of the labels of another."""
    states, labels = [], []
    for text in sentences:
        rng = np.random.default_rng(text)
        states.append(rng.normal(size=(2, WORDS, DIM)))
        labels.append(rng.integers(0, 2, WORDS))
    hidden = np.concatenate(states, axis=1).astype(np.float32)
    return make_cache(
        name,
        hidden,
        [WORDS] * len(sentences),
        words=list(range(WORDS)) * len(sentences),
        labels=np.concatenate(labels),
        classes=["O", "B-x"],
        **more,
    )


def scores(probed, split):
    rows = [row for row in probed.rows if row["split"] == split and row["metric"] == "token_macro_f1"]
    return {(row["probe"], row["layer"]): row for row in rows}


def two_caches(make_cache, test_texts, **more):
    train_texts = list(range(1, 9))
    train = cache(make_cache, "train", train_texts, texts=train_texts, split="train")
    return train, cache(make_cache, "test", test_texts, **{"texts": test_texts} | more)


def test_what_a_probe_learned_by_heart_does_not_count_without_duplicates(make_cache):
    new = list(range(100, 140))
    train, test = two_caches(make_cache, [*range(1, 9), *new])
    probed = probe(ProbeConfig(codelength=False, controls=False, strengths=(1000,)), train, test)
    held_out = cache(make_cache, "new", new, texts=new)
    expected = probe(ProbeConfig(codelength=False, controls=False, strengths=(1000,)), train, held_out)
    without = scores(probed, WITHOUT_DUPLICATES)
    assert set(without) == set(scores(probed, "test"))  # every layer and every baseline
    for key, row in scores(expected, "test").items():
        assert without[key]["value"] == pytest.approx(row["value"], abs=1e-12)
        assert (without[key]["low"], without[key]["high"]) == (row["low"], row["high"])
        assert without[key]["n"] == len(new) * WORDS
    of_layer = "linear", 0
    assert scores(probed, "test")[of_layer]["value"] > without[of_layer]["value"]


@pytest.mark.parametrize(
    ("texts", "more"),
    [
        (list(range(100, 120)), {}),  # none is a duplicate
        (list(range(1, 9)), {}),  # all are
        ([1, 2, 100, 101], {"texts": None}),  # the cache does not say
        ([1, 2, 100, 101], {"split": "heldout"}),
    ],
)
def test_there_are_no_such_rows_where_they_would_say_nothing(make_cache, texts, more):
    train, test = two_caches(make_cache, texts, **more)
    assert not scores(probe(CONFIG, train, test), WITHOUT_DUPLICATES)
    assert scores(probe(CONFIG, train, test), more.get("split", "test"))
