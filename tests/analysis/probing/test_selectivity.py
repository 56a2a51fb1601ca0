"""Selectivity above the majority labels, of seen and unseen words; intervals over documents."""

import numpy as np
import pytest

from microtome.analysis.metrics.terms import ScoreKey
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig

WORDS = 5  # of a sentence
TYPES = 30


def tagged(make_cache, name, seed, *, knows, sentences=160, **more):
    """Sentences of two classes, 85 % of them O. Their states say the `word`, the `label`, or nothing. Word
    types are as frequent as in text, and half of those of the test part are not in the training part."""
    rng = np.random.default_rng(seed)
    size = sentences * WORDS
    frequency = 1 / np.arange(1, TYPES + 1)
    ids = rng.choice(TYPES, size, p=frequency / frequency.sum()) + (TYPES // 2 if seed else 0)
    labels = (rng.random(size) < 0.15).astype(int)
    states = rng.normal(size=(size, 40))
    if knows == "word":
        states = np.random.default_rng(99).normal(size=(2 * TYPES, 40))[ids] * 3
    elif knows == "label":
        states[:, 0] = 8 * labels
    return make_cache(
        name,
        states[None].astype(np.float32),
        [WORDS] * sentences,
        words=list(range(WORDS)) * sentences,
        labels=labels,
        classes=["O", "B-x"],
        input_ids=ids,
        **more,
    )


def values(make_cache, knows, **settings):
    caches = (tagged(make_cache, f"{knows}{seed}", seed, knows=knows) for seed in (0, 1))
    config = ProbeConfig(codelength=False, baselines=False, **settings)
    return {row["metric"]: row for row in probe(config, *caches).rows}


def test_states_that_say_the_label_are_selective_on_seen_and_unseen_words(make_cache):
    rows = values(make_cache, "label")
    for name in ("primary_selectivity", "seen_word_selectivity", "unseen_word_selectivity"):
        assert rows[name]["low"] > 0.2
        assert rows[name]["low"] <= rows[name]["value"] <= rows[name]["high"]
    assert rows["selectivity_over_majority"]["value"] > 0.1
    parts = [rows[f"{part}_word_selectivity"]["n"] for part in ("seen", "unseen")]
    assert all(parts)
    assert sum(parts) == 160 * WORDS


def test_states_that_say_the_word_only_memorise(make_cache):
    rows = values(make_cache, "word", strengths=(10.0,))
    assert rows["seen_word_selectivity"]["value"] < -0.1  # the control task is learnt by heart
    assert abs(rows["unseen_word_selectivity"]["value"]) < 0.15  # which is of no use here


def test_states_that_say_nothing_have_no_selectivity_above_the_majority(make_cache):
    rows = values(make_cache, "nothing", strengths=(1e-4,))
    assert abs(rows["selectivity_over_majority"]["value"]) < 0.03
    assert abs(rows["primary_selectivity"]["value"]) < 0.1
    # Accuracies alone differ by the frequencies of the labels: what a frequent word got counts often.
    assert abs(rows["selectivity"]["value"]) > abs(rows["selectivity_over_majority"]["value"])


def test_the_value_is_the_difference_of_the_gains(make_cache):
    caches = [tagged(make_cache, str(seed), seed, knows="label") for seed in (0, 1)]
    found = {
        (row["probe"], row["metric"]): row["value"]
        for row in probe(ProbeConfig(codelength=False), *caches).rows
    }
    gain = found["linear", "token_micro_f1"] - found["majority", "token_micro_f1"]
    control_gain = found["linear", "control_accuracy"] - found["majority", "control_accuracy"]
    assert found["linear", "selectivity_over_majority"] == pytest.approx(gain - control_gain)


def test_documents_are_what_intervals_of_a_probe_are_over(make_cache):
    """Sentences of a document are right or wrong together: over documents the interval is wider."""
    widths, sizes = [], []
    rng = np.random.default_rng(3)
    documents = np.repeat(np.arange(40), 4)
    hard = np.repeat(rng.random(40) < 0.5, 4 * WORDS)
    for name, of_test in (("sentences", np.arange(160)), ("documents", documents)):
        train = tagged(make_cache, f"train-{name}", 0, knows="label")
        test = tagged(make_cache, f"test-{name}", 1, knows="label", documents=of_test)
        test.example_data.labels[hard] = 1 - test.example_data.labels[hard]
        config = ProbeConfig(codelength=False, controls=False, baselines=False)
        result = probe(config, train, test)
        (row,) = (row for row in result.rows if row["metric"] == "token_macro_f1")
        widths.append(row["high"] - row["low"])
        sizes.append(len(result.terms[ScoreKey("linear", 0)].terms))
    assert sizes == [160, 40]
    assert widths[1] > 1.5 * widths[0]


def test_a_fifth_of_the_documents_is_held_out(make_cache):
    from microtome.analysis.probing.model_selection import StrengthSelection
    from microtome.analysis.probing.scoring import scoring
    from microtome.analysis.units import units

    cache = tagged(make_cache, "a", 0, knows="word", documents=np.repeat(np.arange(20), 8))
    of_cache = units(cache)
    selection = StrengthSelection((1.0, 2.0), scoring(cache, of_cache.y, of_cache.classes), of_cache, None, 0)
    (_, _, fit), (_, _, held_out) = selection._sides(np.zeros((len(of_cache.y), 1)), 0)
    documents_of = {int(example): int(cache.documents[example]) for example in range(cache.examples)}
    sides = [{documents_of[int(example)] for example in groups} for groups in (fit, held_out)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 4
