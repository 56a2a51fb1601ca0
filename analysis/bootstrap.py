"""Bootstrap intervals over examples, of scores that are formulas of sums over them (metrics/terms.py)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from microtome.analysis.metrics.terms import MetricTerms
from microtome.store.errors import InputError

LEVEL = 0.95  # of every interval
BLOCK = 1 << 18  # counts of resampled examples at a time; they stay in a core's cache


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its 95 % percentile interval, over `n` examples and `seeds` seeds."""

    value: float
    low: float
    high: float
    n: int
    seeds: int


def interval(scores: Sequence[MetricTerms], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean over `scores`, one per seed on the same examples; the examples are resampled for all seeds at
    once, and the seeds too if there are several (two or three of them say little about other seeds)."""
    (spread,) = _resampled([scores], resamples, seed)
    return _interval(_mean_value(scores), spread, len(scores[0].terms), len(scores))


def difference(
    after: Sequence[MetricTerms], before: Sequence[MetricTerms], *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Mean of `after` minus mean of `before`, paired: both are scored on the same resamples, and where they
    have equally many seeds these are paired too. InputError unless all are of the same examples."""
    new, old = _resampled([after, before], resamples, seed)
    value = _mean_value(after) - _mean_value(before)
    return _interval(value, new - old, len(after[0].terms), min(len(after), len(before)))


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
    return [np.take_along_axis(side, resampled_seeds[side.shape[1]], axis=1).mean(axis=1) for side in values]


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


def _interval(value: float, spread: np.ndarray, n: int, seeds: int) -> Interval:
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high), n=n, seeds=seeds)
