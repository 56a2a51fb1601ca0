import numpy as np
import pytest
from scipy import stats

from microtome.analysis.bootstrap import contrast, difference, interval
from microtome.analysis.metrics.labels import class_labels, number_labels
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


def covered(intervals, truth):
    return np.mean([found.low <= truth <= found.high for found in intervals])


SHARED = 0.8  # of what makes an example right or wrong lies in the example, the rest in the run


def trained(rng, seeds, examples=300, mean=0.7, deviation=0.03, difficulty=None):
    """Runs whose own accuracies differ by 3 points, on the same examples."""
    difficulty = rng.normal(size=examples) if difficulty is None else difficulty
    runs = []
    for _ in range(seeds):
        noise = SHARED**0.5 * difficulty + (1 - SHARED) ** 0.5 * rng.normal(size=examples)
        runs.append(right(noise < stats.norm.ppf(rng.normal(mean, deviation))))
    return runs


@pytest.mark.parametrize(("seeds", "least"), [(2, 0.91), (3, 0.93), (5, 0.93)])
def test_several_seeds_cover_the_mean_of_all_training_runs(seeds, least):
    rng = np.random.default_rng(5)
    found = [interval(trained(rng, seeds), resamples=400, seed=run) for run in range(400)]
    assert least <= covered(found, 0.7) <= 0.98


def test_one_seed_does_not_and_says_that_it_is_one():
    rng = np.random.default_rng(6)
    found = [interval(trained(rng, 1), resamples=400, seed=run) for run in range(400)]
    assert covered(found, 0.7) < 0.85
    assert {i.seeds for i in found} == {1}


def test_models_that_train_alike_rarely_differ():
    rng = np.random.default_rng(7)

    def compared(seeds, run):
        difficulty = rng.normal(size=300)
        sides = [trained(rng, seeds, difficulty=difficulty) for _ in range(2)]
        return difference(*sides, resamples=400, seed=run)

    found = [compared(5, run) for run in range(400)]
    assert np.mean([not d.low <= 0 <= d.high for d in found]) <= 0.07
    assert np.mean([d.p <= 0.05 for d in found]) <= 0.07
    lucky = [compared(1, run) for run in range(400)]
    assert np.mean([d.p <= 0.05 for d in lucky]) > 0.2  # why one run names no winner


def test_documents_are_covered_where_sentences_are_not():
    rng = np.random.default_rng(8)
    documents = np.repeat(np.arange(100), 12)

    def run(groups, seed):
        own = rng.beta(7, 3, size=100)[documents]
        return interval([right(rng.random(1200) < own, groups=groups)], seed=seed)

    assert 0.93 <= covered([run(documents, seed) for seed in range(800)], 0.7) <= 0.97
    assert covered([run(None, seed) for seed in range(300)], 0.7) < 0.85


def correlated(rng, n, rho=0.8, groups=None):
    gold, other = rng.normal(size=(2, n))
    return metric_terms(
        "pearson", number_labels(gold, rho * gold + (1 - rho**2) ** 0.5 * other, groups=groups)
    )


def test_a_correlation_of_twenty_is_covered_by_fishers_z():
    rng = np.random.default_rng(9)
    found = [interval([correlated(rng, 20)], resamples=100) for _ in range(600)]
    assert {i.method for i in found} == {"Fisher z"}
    assert 0.93 <= covered(found, 0.8) <= 0.97
    assert interval([correlated(rng, 40)]).method == "percentile"
    grouped = correlated(rng, 40, groups=np.repeat(np.arange(20), 2))  # 20 documents of 2 pairs
    assert interval([grouped]).method == "BCa"
    apart = interval([correlated(rng, 20), correlated(rng, 20, rho=0)], resamples=100)
    assert apart.high - apart.low > 0.6  # the seeds differ


def test_a_share_of_a_few_is_covered_by_corrected_percentiles():
    rng = np.random.default_rng(10)
    found = [interval([right(rng.random(25) < 0.85)], resamples=600, seed=run) for run in range(400)]
    assert {i.method for i in found} <= {"BCa", "percentile"}
    assert covered(found, 0.85) >= 0.9
    skewed = interval([right([1] * 28 + [0] * 2)], resamples=4000)
    assert skewed.method == "BCa"
    assert skewed.value - skewed.low > 1.5 * (skewed.high - skewed.value)


def test_a_difference_has_a_p_value_and_an_effect_size():
    rng = np.random.default_rng(11)
    worse, better = trained(rng, 5, mean=0.6), trained(rng, 5, mean=0.8)
    found = difference(better, worse)
    assert found.p < 0.001
    values = [np.array([score.value() for score in side]) for side in (better, worse)]
    pooled = np.sqrt((values[0].var(ddof=1) + values[1].var(ddof=1)) / 2)
    assert found.effect == pytest.approx((values[0].mean() - values[1].mean()) / pooled)
    assert np.isnan(difference(better[:1], worse[:1]).effect)
    assert difference(worse, worse).p == 1


def test_a_difference_of_gains_is_paired_throughout():
    rng = np.random.default_rng(9)
    before = rng.random(400) < 0.5
    after, alike = before | (rng.random(400) < 0.2), before | (rng.random(400) < 0.02)
    sides = [[right(side)] for side in (after, before, alike, before)]
    found = contrast([sides[0], sides[3]], [sides[1], sides[2]])
    assert found.value == pytest.approx(after.mean() - alike.mean())
    assert 0 < found.low < found.value < found.high
    direct = difference(sides[0], sides[2])
    assert (found.low, found.high) == pytest.approx((direct.low, direct.high))
