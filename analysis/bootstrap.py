"""Bootstrap intervals over examples and training runs, of scores that are formulas of sums over examples.

Several seeds are resampled together with the examples (the multi-bootstrap of Sellam et al. 2022): an
interval is then about other examples and other training runs. With one seed it is about other examples alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import norm

from microtome.analysis.metrics.terms import MetricTerms
from microtome.store.errors import InputError

LEVEL = 0.95  # of every interval
BLOCK = 1 << 18  # counts of resampled examples at a time; they stay in a core's cache
SMALL = 40  # under so many examples percentiles of resamples are too narrow
CORRELATION = "pearson"  # the metric that Fisher's z is for

Method = Literal["percentile", "BCa", "Fisher z"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its 95 % interval, over `n` examples (documents, where the corpus has them) and `seeds`
    training runs.

    method  "percentile" of resamples; under SMALL examples "BCa", which corrects their bias and skew (Efron
            1987), or for a Pearson correlation "Fisher z"
    """

    value: float
    low: float
    high: float
    n: int
    seeds: int
    method: Method = "percentile"


@dataclass(frozen=True, kw_only=True)
class Difference(Interval):
    """A difference of two scores.

    p       two-sided, of no difference; by the spread of the resamples, taken as normal
    effect  the difference over the standard deviation between training runs (Cohen's d); NaN unless both
            sides have several
    """

    p: float
    effect: float


def interval(scores: Sequence[MetricTerms], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean over `scores`, one per seed on the same examples; the examples are resampled for all seeds at
    once, and the seeds too if there are several (two of them still say little about other seeds)."""
    estimate = contrast([scores], [], resamples=resamples, seed=seed)
    if 3 < estimate.n < SMALL and scores[0].metric == CORRELATION and _one_unit_each(scores[0]):
        low, high = _fisher(scores)
        return replace(estimate, low=low, high=high, method="Fisher z")
    return estimate


def difference(
    after: Sequence[MetricTerms], before: Sequence[MetricTerms], *, resamples: int = 1000, seed: int = 0
) -> Difference:
    """Mean of `after` minus mean of `before`, paired: both are scored on the same resamples, and where they
    have equally many seeds these are paired too. InputError unless all are of the same examples."""
    return differences([after], before, resamples=resamples, seed=seed)[0]


def differences(
    several: Sequence[Sequence[MetricTerms]],
    before: Sequence[MetricTerms],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Difference]:
    """The difference of each of several from the same one, all on the same resamples."""
    *spreads, old = _resampled([*several, before], resamples, seed)
    *without, old_without = _without_each_example([*several, before])
    return [
        _difference(after, before, spread - old, left_out - old_without)
        for after, spread, left_out in zip(several, spreads, without, strict=True)
    ]


def _difference(
    after: Sequence[MetricTerms], before: Sequence[MetricTerms], spread: np.ndarray, without_each: np.ndarray
) -> Difference:
    value = _mean_value(after) - _mean_value(before)
    low, high, method = _bounds(value, spread, without_each)
    return Difference(
        value=value,
        low=low,
        high=high,
        n=len(after[0].terms),
        seeds=min(len(after), len(before)),
        method=method,
        p=_two_sided(value, float(np.std(spread, ddof=1))),
        effect=_effect(after, before),
    )


def contrast(
    plus: Sequence[Sequence[MetricTerms]],
    minus: Sequence[Sequence[MetricTerms]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The sum of the means of `plus` minus that of the means of `minus`, all on the same resamples: such as a
    difference of two gains. InputError unless all are of the same examples."""
    sides = [*plus, *minus]
    signs = np.array([1.0] * len(plus) + [-1.0] * len(minus))
    spread = signs @ np.stack(_resampled(sides, resamples, seed))
    value = float(signs @ [_mean_value(side) for side in sides])
    low, high, method = _bounds(value, spread, signs @ np.stack(_without_each_example(sides)))
    n, seeds = len(sides[0][0].terms), min(map(len, sides))
    return Interval(value=value, low=low, high=high, n=n, seeds=seeds, method=method)


def resampled_counts(rng: np.random.Generator, resamples: int, examples: int) -> Iterator[np.ndarray]:
    """How often each resample, drawn with replacement, holds each example: blocks of float64
    [some resamples, examples]."""
    rows = max(1, BLOCK // examples)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        cells = rng.integers(examples, size=(size, examples)) + examples * np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=size * examples)
        yield counts.reshape(size, examples).astype(np.float64)


def _resampled(sides: Sequence[Sequence[MetricTerms]], resamples: int, seed: int) -> list[np.ndarray]:
    """Of each side the mean over resampled seeds on the same resamples: float64 [resamples]."""
    _refuse_unpaired(sides)
    rng = np.random.default_rng(seed)
    blocks = [
        [np.stack([score.values(counts) for score in side], axis=1) for side in sides]
        for counts in resampled_counts(rng, resamples, len(sides[0][0].terms))
    ]
    values = [np.concatenate(of_side) for of_side in zip(*blocks, strict=True)]
    seeds = {side.shape[1] for side in values}
    resampled_seeds = {number: rng.integers(number, size=(resamples, number)) for number in sorted(seeds)}
    return [_over_seeds(side, resampled_seeds[side.shape[1]]) for side in values]


def _over_seeds(values: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """The mean of resampled seeds, float64 [resamples], of `values` [resamples, seeds].

    Resampled means of a few seeds vary too little, by (seeds - 1) / seeds: what the seeds add is widened by
    as much.
    """
    means, seeds = values.mean(axis=1), values.shape[1]
    if seeds == 1:
        return means
    resampled_means = np.take_along_axis(values, resampled, axis=1).mean(axis=1)
    return means + np.sqrt(seeds / (seeds - 1)) * (resampled_means - means)


def _refuse_unpaired(sides: Sequence[Sequence[MetricTerms]]) -> None:
    if not all(sides):
        raise InputError("no scores to resample")
    scores = [score for side in sides for score in side]
    metrics = sorted({score.metric for score in scores})
    if len(metrics) > 1:
        raise InputError(f"scores of different metrics cannot be paired: {', '.join(metrics)}")
    sizes = sorted({len(score.terms) for score in scores})
    if len(sizes) > 1 or len({score.examples for score in scores} - {""}) > 1:
        counts = f": {' and '.join(map(str, sizes))}" if len(sizes) > 1 else ""
        raise InputError(f"{metrics[0]}: the scores are of different examples{counts}; score the same split")
    if sizes[0] == 0:
        raise InputError(f"{metrics[0]}: no examples to resample")


def _mean_value(scores: Sequence[MetricTerms]) -> float:
    return float(np.mean([score.value() for score in scores]))


def _bounds(value: float, spread: np.ndarray, without_each: np.ndarray) -> tuple[float, float, Method]:
    """The ends of an interval and how they were found, from the values of all resamples and the values
    without each example (empty where there are enough examples)."""
    ends, method = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]), "percentile"
    if len(without_each) and np.ptp(spread) > 0:
        below = (np.mean(spread < value) + np.mean(spread <= value)) / 2
        bias = norm.ppf(np.clip(below, 1 / len(spread), 1 - 1 / len(spread)))
        pull = without_each.mean() - without_each
        squares = (pull**2).sum()
        skew = (pull**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
        shifted = bias + norm.ppf(ends)
        ends, method = norm.cdf(bias + shifted / (1 - skew * shifted)), "BCa"
    low, high = np.quantile(spread, ends)
    return float(low), float(high), method  # type: ignore[return-value]


def _without_each_example(sides: Sequence[Sequence[MetricTerms]]) -> list[np.ndarray]:
    """Of each side the mean over seeds without each example: float64 [examples]; empty from SMALL on."""
    n = len(sides[0][0].terms)
    if n >= SMALL or n < 3:
        return [np.zeros(0) for _ in sides]
    counts = 1 - np.eye(n)
    return [np.mean([score.values(counts) for score in side], axis=0) for side in sides]


def _one_unit_each(score: MetricTerms) -> bool:
    """Whether no example of a correlation has several units; the first of its terms counts them."""
    return bool((score.terms[:, 0] == 1).all())


def _fisher(scores: Sequence[MetricTerms]) -> tuple[float, float]:
    """The interval of a Pearson correlation by Fisher's z, widened by how the seeds differ."""
    z = np.arctanh(np.clip([score.value() for score in scores], -1 + 1e-9, 1 - 1e-9))
    variance = 1 / (len(scores[0].terms) - 3)
    if len(z) > 1:
        variance += z.var(ddof=1) / len(z)
    reach = norm.ppf((1 + LEVEL) / 2) * np.sqrt(variance)
    return float(np.tanh(z.mean() - reach)), float(np.tanh(z.mean() + reach))


def _two_sided(value: float, deviation: float) -> float:
    if deviation == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * norm.sf(abs(value) / deviation))


def _effect(after: Sequence[MetricTerms], before: Sequence[MetricTerms]) -> float:
    sides = [np.array([score.value() for score in side]) for side in (after, before)]
    if min(map(len, sides)) < 2:
        return float("nan")
    degrees = [len(side) - 1 for side in sides]
    variance = sum(d * side.var(ddof=1) for d, side in zip(degrees, sides, strict=True)) / sum(degrees)
    return float((sides[0].mean() - sides[1].mean()) / np.sqrt(variance)) if variance > 0 else float("nan")
