"""Online description length of labels given representations (Voita & Titov 2020), in bits."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from microtome.store.errors import InputError

# Where the blocks end, as shares of the units.
SHARES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)

LogLikelihood = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x, y -> nats of each unit
Fit = Callable[[np.ndarray, np.ndarray], LogLikelihood]


def online_codelength(
    x: np.ndarray,
    y: np.ndarray,
    *,
    classes: int,
    fit: Fit,
    shares: Sequence[float] = SHARES,
    groups: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
) -> float:
    """Bits to send `y` to one who has `x`: the first block at log2(classes) per unit, every other block by
    the model that was fitted on all blocks before it.

    `y` is int64 [units], or [units, classes] of zeros and ones, each of which costs one bit in the first
    block. `fit(x, y)` returns what gives the natural log of the probability of every unit's label, float
    [units]; a label that it holds impossible makes the codelength infinite. `x` [units, ...] is only
    indexed, so it may be row numbers.

    With `groups` [units], the example of each unit, no block splits an example. With `rng` the blocks are
    drawn at random, else taken in the order given; within a block units keep their order. Blocks that
    would be empty are joined with the next. InputError for real-valued `y` and for examples in pieces.
    """
    if y.dtype.kind == "f":
        raise InputError("description length is of classes: these labels are real numbers")
    order, ends = _blocks(_examples(len(y), groups), shares, rng)
    bits = ends[0] * (y.shape[1] if y.ndim == 2 else math.log2(classes))
    for start, end in pairwise(ends):
        known, asked = np.sort(order[:start]), np.sort(order[start:end])
        log_likelihood = fit(x[known], y[known])(x[asked], y[asked])
        bits -= float(np.sum(log_likelihood, dtype=np.float64)) / math.log(2)
    return float(bits)


def label_frequencies(classes: int) -> Fit:
    """The model of one who sees labels only: how frequent each class was so far, each counted half a time
    before the first (Krichevsky & Trofimov 1981). Of zeros and ones [units, classes], each class on its own.

    With the blocks of a probe its codelength is the prior code: what the labels cost without `x`.
    """

    def fit(x: np.ndarray, y: np.ndarray) -> LogLikelihood:
        if y.ndim == 2:
            ones = (y.sum(axis=0) + 0.5) / (len(y) + 1)
            return lambda x, y: np.where(y > 0, np.log(ones), np.log1p(-ones)).sum(axis=1)
        frequencies = (np.bincount(y, minlength=classes) + 0.5) / (len(y) + classes / 2)
        return lambda x, y: np.log(frequencies)[y]

    return fit


def uniform_codelength(units: int, classes: int) -> float:
    """Bits of labels that are sent as if every class were as frequent. Zeros and ones [units, classes] are
    `units * classes` units of two classes."""
    return units * math.log2(classes)


def compression(codelength_bits: float, reference_bits: float) -> float:
    """How many times shorter than a reference code. With the prior code, 1 is a probe that gains nothing
    from the features; with the uniform code it is as published, and unbalanced labels alone exceed 1."""
    return reference_bits / codelength_bits if codelength_bits else 1.0


def _examples(units: int, groups: np.ndarray | None) -> np.ndarray:
    """The example of every unit, counted in the order of appearance: int64 [units]."""
    if units == 0:
        raise InputError("description length needs labels: there are none")
    if groups is None:
        return np.arange(units)
    if len(groups) != units:
        raise InputError(f"{units} labels, but {len(groups)} units in groups")
    examples = np.concatenate([[0], np.cumsum(groups[1:] != groups[:-1])])
    if examples[-1] + 1 != len(np.unique(groups)):
        raise InputError("the units of an example must stand together")
    return examples


def _blocks(
    examples: np.ndarray, shares: Sequence[float], rng: np.random.Generator | None
) -> tuple[np.ndarray, list[int]]:
    """The order of the units, int64 [units], and where each block ends in it, ascending."""
    if not shares or shares[-1] != 1:
        raise InputError(f"the last block must end at share 1: {tuple(shares)}")
    units = len(examples)
    order = np.arange(units)
    if rng is not None:
        order = np.argsort(rng.permutation(examples[-1] + 1)[examples], kind="stable")
        examples = examples[order]
    stops = np.append(np.flatnonzero(np.diff(examples)) + 1, units)
    wanted = np.rint(np.asarray(shares) * units)
    ends = np.unique(stops[np.searchsorted(stops, wanted[wanted >= 1])])
    return order, ends.tolist()
