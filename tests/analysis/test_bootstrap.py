import numpy as np
import pytest

from microtome.analysis.bootstrap import difference, interval
from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.terms import MetricTerms, metric_terms
from microtome.store.errors import InputError


def right(correct, groups=None, metric="accuracy"):
    """The terms of predictions of which these are right."""
    predicted = np.asarray(correct).astype(int)
    return metric_terms(
        metric, class_labels(np.ones_like(predicted), predicted, ["no", "yes"], groups=groups)
    )


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [interval([right(rng.random(300) < 0.7)], resamples=400, seed=run) for run in range(300)]
    assert 0.91 <= np.mean([i.low <= 0.7 <= i.high for i in found]) <= 0.985
    width = 2 * 1.96 * (0.7 * 0.3 / 300) ** 0.5
    assert np.mean([i.high - i.low for i in found]) == pytest.approx(width, rel=0.05)


def test_words_of_a_sentence_are_resampled_together():
    rng = np.random.default_rng(1)
    per_sentence = rng.random(100) < 0.7
    words = np.repeat(per_sentence, 10)
    together = interval([right(words, groups=np.repeat(np.arange(100), 10))])
    apart = interval([right(words)])
    assert together.n == 100
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(10**0.5, rel=0.15)


def test_several_seeds_are_averaged_and_resampled():
    rng = np.random.default_rng(2)
    seeds = [right(rng.random(200) < p) for p in (0.5, 0.7, 0.9)]
    found = interval(seeds)
    assert found.value == pytest.approx(np.mean([score.value() for score in seeds]))
    assert (found.n, found.seeds) == (200, 3)
    alike = interval([seeds[1]] * 3)
    assert found.high - found.low > 2 * (alike.high - alike.low)  # seeds differ more than examples do
    assert found == interval(seeds)
    assert found != interval(seeds, seed=1)


def test_a_paired_difference_is_narrower_than_the_unpaired_one():
    rng = np.random.default_rng(3)
    before = rng.random(400) < 0.6
    after = before | (rng.random(400) < 0.1)
    found = difference([right(after)], [right(before)])
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert 0 < found.low < found.value < found.high
    alone = interval([right(before)])
    assert found.high - found.low < 0.6 * (alone.high - alone.low)


def test_identical_systems_do_not_differ():
    rng = np.random.default_rng(4)
    seeds = [right(rng.random(50) < p) for p in (0.4, 0.8)]
    found = difference(seeds, seeds)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    shared = difference(seeds, seeds[:1])  # one "before" for all seeds
    assert shared.value == pytest.approx(seeds[1].value() / 2 - seeds[0].value() / 2)


def test_what_cannot_be_paired_is_refused():
    one, other = right([1, 0, 1]), right([1, 0])
    with pytest.raises(InputError, match="different examples: 2 and 3"):
        difference([one], [other])
    named = [right([1], groups=[name]) for name in "xy"]
    with pytest.raises(InputError, match="different examples; score the same split"):
        difference([named[0]], [named[1]])
    with pytest.raises(InputError, match="different metrics cannot be paired: accuracy, macro_f1"):
        difference([right([1])], [right([1], metric="macro_f1")])
    with pytest.raises(InputError, match="no scores"):
        interval([])
    with pytest.raises(InputError, match="no examples"):
        interval([MetricTerms("accuracy", np.zeros((0, 2)))])
