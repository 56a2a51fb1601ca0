import numpy as np
import pytest

from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.terms import metric_terms
from microtome.analysis.multiple_tests import holm
from microtome.analysis.probing.best_layers import best_layer
from microtome.jobs.suite.layer_comparisons import BEST_GAIN, FROM_BEST, LayerScores, layer_differences

EXAMPLES = 400


def right(correct):
    """The terms of predictions of which these are right."""
    predicted = np.asarray(correct).astype(int)
    return metric_terms("accuracy", class_labels(np.ones_like(predicted), predicted, ["no", "yes"]))


def runs(rng, accuracies, seeds=1):
    """Predictions of several layers, which are right on much the same examples."""
    difficulty = rng.random(EXAMPLES)
    return {
        layer: [right(difficulty + rng.normal(0, 0.1, EXAMPLES) < accuracy) for _ in range(seeds)]
        for layer, accuracy in enumerate(accuracies)
    }


def test_the_best_layer_is_chosen_on_dev_if_every_layer_was_scored_there():
    test = {0: 0.5, 1: 0.6, 2: 0.9}
    assert best_layer(test, {0: 0.5, 1: 0.8, 2: 0.8}) == 1  # the lowest of equals
    assert best_layer(test, {1: 0.8}) == 2
    assert best_layer(test, {}) == 2


def test_layers_are_compared_with_the_best_and_the_best_with_that_before():
    rng = np.random.default_rng(0)
    before, after = ("bert", 0.0), ("bert", 100.0)
    scores = LayerScores(
        test={before: runs(rng, (0.3, 0.6, 0.59)), after: runs(rng, (0.5, 0.7, 0.9), seeds=3)},
        dev={before: {0: [0.3], 1: [0.6], 2: [0.5]}},
    )
    rows = {(d.quantity, d.run, d.layer): d for d in layer_differences(scores)}
    assert set(rows) == {
        *((FROM_BEST, before, layer) for layer in (0, 2)),
        *((FROM_BEST, after, layer) for layer in (0, 1)),
        (BEST_GAIN, after, 2),
    }
    assert {d.reference_layer for d in rows.values()} == {1, 2}
    worse, alike = (rows[FROM_BEST, before, layer].difference for layer in (0, 2))
    assert worse.high < 0
    assert worse.p < 0.01
    assert alike.p > 0.05
    gain = rows[BEST_GAIN, after, 2]
    assert (gain.reference, gain.reference_layer) == (before, 1)
    expected = np.mean([s.value() for s in scores.test[after][2]]) - scores.test[before][1][0].value()
    assert gain.difference.value == pytest.approx(expected)
    assert 0 < gain.difference.low < expected < gain.difference.high


def test_one_layer_has_nothing_to_be_compared_with():
    rng = np.random.default_rng(0)
    assert not list(layer_differences(LayerScores(test={("bert", 0.0): runs(rng, (0.5,))})))


def test_equally_good_layers_are_rarely_called_worse():
    """The best of eight equal layers on dev says nothing of test: of 150 tables few have a worse layer."""
    rng = np.random.default_rng(1)
    with_a_worse_layer = 0
    for _ in range(150):
        run = ("bert", 0.0)
        dev = {layer: [value] for layer, value in enumerate(rng.random(8))}
        scores = LayerScores(test={run: runs(rng, [0.7] * 8)}, dev={run: dev})
        p = [d.difference.p for d in layer_differences(scores)]
        with_a_worse_layer += bool((holm(np.array(p)) <= 0.05).any())
    assert with_a_worse_layer <= 0.08 * 150
