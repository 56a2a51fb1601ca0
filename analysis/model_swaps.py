"""Correlation between two measurements of the same models, and what it says of other models.

The fractions, seeds and tasks of one model are no independent observations: what one model has more of, it
has everywhere. So the unit of inference is the model. Each measurement is taken minus its mean over models at
the same task and fraction, which removes what more training data does to all of them; what then relates the
two is compared with what is left when whole models are swapped (a permutation test, exact whatever the
measurements of one model have to do with each other). Seeds are averaged before.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from microtome.analysis.bootstrap import LEVEL

MODELS_NEEDED = 6  # for an interval; with 4 there are 24 orders of models, and chance explains any of them
FEWEST_POINTS = 4  # fewer have no correlation worth a number
TINY = 1e-9  # a spread below this is rounding
SWEEPS = 100  # of centring by turns; a complete table needs one


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Two measurements of the same models: `x` and `y` float64 [points], one point per model and condition.

    model      int64 [points]
    condition  int64 [points], the task and fraction of each point
    """

    x: np.ndarray
    y: np.ndarray
    model: np.ndarray
    condition: np.ndarray

    def only(self, keep: np.ndarray) -> "Measured":
        """The points for which `keep`, bool [points], is true."""
        return Measured(
            x=self.x[keep], y=self.y[keep], model=self.model[keep], condition=self.condition[keep]
        )


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A correlation over `points` points of `models` models.

    low, high  95 % interval; NaN under MODELS_NEEDED models
    p          share of swaps that give as strong a correlation; NaN likewise
    """

    value: float
    low: float
    high: float
    p: float
    models: int
    points: int


def relation(
    measured: Measured, *, ranks: bool, within_models: bool = False, swaps: int = 2000, seed: int = 0
) -> Relation | None:
    """The correlation of x and y, each minus its mean at the same condition; Spearman's with `ranks`, else
    Pearson's. `within_models` takes the mean of each model off too: whether a model that gains more in x than
    others do, from more data, also gains more in y.

    The interval is Fisher's: as wide, on the scale of atanh, as the middle 95 % of the correlations that
    swapped models have. It leaves zero out only where p is at most 0.05. None for fewer than FEWEST_POINTS
    points, or where one side is constant.
    """
    measured = _usable(measured, within_models)
    sides = _sides(measured, ranks, within_models)
    if sides is None:
        return None
    x, y = sides
    value = float(np.clip(x @ y, -1, 1))
    models = len(np.unique(measured.model))
    low = high = p = np.nan
    groups = _exchangeable(measured)
    if max(map(len, groups)) >= MODELS_NEEDED:
        swapped = _swapped(measured, x, y, groups, swaps, np.random.default_rng(seed))
        low, high, p = _interval(value, swapped, models)
    return Relation(value=value, low=low, high=high, p=p, models=models, points=len(measured.x))


def without_each_model(
    measured: Measured, *, ranks: bool, within_models: bool = False
) -> tuple[float, float]:
    """The lowest and the highest correlation when one model in turn is left out; NaN where none is left."""
    values = []
    for model in np.unique(measured.model):
        rest = _usable(measured.only(measured.model != model), within_models)
        sides = _sides(rest, ranks, within_models)
        if sides is not None:
            values.append(float(np.clip(sides[0] @ sides[1], -1, 1)))
    return min(values, default=np.nan), max(values, default=np.nan)


def _usable(measured: Measured, within_models: bool) -> Measured:
    """Without conditions that only one model has, and, within models, without models of one condition."""
    while True:
        keep = _repeated(measured.condition)
        if within_models:
            keep &= _repeated(measured.model)
        if keep.all():
            return measured
        measured = measured.only(keep)


def _repeated(group: np.ndarray) -> np.ndarray:
    _, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    return sizes[place] > 1


def _sides(measured: Measured, ranks: bool, within_models: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """x and y centred and of unit length, so that their product is the correlation."""
    if len(measured.x) < FEWEST_POINTS:
        return None
    by = [measured.condition, measured.model] if within_models else [measured.condition]
    sides = []
    for values in (measured.x, measured.y):
        centred = _centred(values, by).round(12)  # so that what is equal but for the last bit ties
        if np.ptp(centred) < TINY:
            return None
        side = rankdata(centred) if ranks else centred
        side = side - side.mean()
        sides.append(side / np.linalg.norm(side))
    return sides[0], sides[1]


def _centred(values: np.ndarray, by: list[np.ndarray]) -> np.ndarray:
    """Values minus the means of their groups, by every grouping of `by`."""
    groupings = [np.unique(group, return_inverse=True)[1] for group in by]
    sizes = [np.bincount(place) for place in groupings]
    for _ in range(SWEEPS):
        before = values
        for place, size in zip(groupings, sizes, strict=True):
            values = values - (np.bincount(place, values) / size)[place]
        if len(by) == 1 or np.abs(values - before).max() < 1e-13:
            break
    return values


def _exchangeable(measured: Measured) -> list[np.ndarray]:
    """The models that may be swapped with each other, those measured under the same conditions: places in
    the sorted models, one array per set of conditions."""
    present = _table(measured, np.ones(len(measured.x))) > 0
    _, kind = np.unique(present, axis=0, return_inverse=True)
    return [np.flatnonzero(kind.ravel() == number) for number in range(kind.max() + 1)]


def _table(measured: Measured, values: np.ndarray) -> np.ndarray:
    """Values as float64 [models, conditions], 0 where a model was not measured."""
    models, row = np.unique(measured.model, return_inverse=True)
    conditions, column = np.unique(measured.condition, return_inverse=True)
    table = np.zeros((len(models), len(conditions)))
    table[row, column] = values
    return table


def _swapped(
    measured: Measured,
    x: np.ndarray,
    y: np.ndarray,
    groups: list[np.ndarray],
    swaps: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The correlation after each swap of whole models: float64 [swaps]."""
    products = _table(measured, x) @ _table(measured, y).T
    partner = np.tile(np.arange(len(products)), (swaps, 1))
    for members in groups:
        partner[:, members] = rng.permuted(np.tile(members, (swaps, 1)), axis=1)
    return products[np.arange(len(products)), partner].sum(axis=1).clip(-1, 1)


def _interval(value: float, swapped: np.ndarray, models: int) -> tuple[float, float, float]:
    """low, high, p. A perfect correlation counts as half a step of Spearman's below it: no finite number of
    models shows that there is none between."""
    p = (1 + np.count_nonzero(np.abs(swapped) >= abs(value) - 1e-12)) / (1 + len(swapped))
    most = 1 - 6 / (models * (models**2 - 1))
    z = np.arctanh(np.clip([value], -most, most))[0]
    spread = np.abs(np.arctanh(np.clip(np.append(swapped, value), -most, most)))
    reach = np.quantile(spread, LEVEL, method="higher")
    return float(np.tanh(z - reach)), float(np.tanh(z + reach)), float(p)
