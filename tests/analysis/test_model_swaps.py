"""How often a correlation is claimed where there is none, and covered where there is one, by simulation."""

import numpy as np
import pytest

from microtome.analysis.model_swaps import Measured, relation, without_each_model

SIMULATIONS = 400
MOST_FALSE_ALARMS = 0.07

# Models that differ in level, in what more data does to them, or not at all; a trend that all share; several
# tasks; models that were not measured everywhere.
DESIGNS = {
    "6 models, own slopes": {"models": 6, "fractions": 5, "slope": 2, "trend": 2},
    "8 models, own levels": {"models": 8, "fractions": 5},
    "8 models, shared trend": {"models": 8, "fractions": 5, "trend": 3},
    "8 models, two tasks": {"models": 8, "fractions": 5, "tasks": 2, "slope": 1},
    "12 models, one fraction": {"models": 12, "fractions": 1},
    "12 models, uneven": {"models": 12, "fractions": 4, "uneven": True, "trend": 2},
}


def simulated(
    rng, *, models, fractions, tasks=1, level=1.0, slope=0.0, trend=0.0, noise=0.3, uneven=False, rho=0.0
):
    """x and y of which the levels and slopes of the models are correlated by `rho`, and nothing else."""
    grid = np.meshgrid(range(models), range(fractions * tasks), indexing="ij")
    model, condition = (axis.ravel() for axis in grid)
    data = (condition % fractions) / max(1, fractions - 1)
    shared = np.array([[1, rho], [rho, 1]])
    levels, slopes = (rng.multivariate_normal([0, 0], shared, size=models) for _ in range(2))
    x, y = (
        trend * data
        + level * levels[model, side]
        + slope * slopes[model, side] * data
        + noise * rng.normal(size=len(model))
        for side in range(2)
    )
    measured = Measured(x=x, y=y, model=model, condition=condition)
    return measured.only((model % 2 == 0) | (condition % 2 == 0)) if uneven else measured


def intervals(design, **options):
    rng = np.random.default_rng(0)
    made = (relation(simulated(rng, **design), swaps=400, seed=run, **options) for run in range(SIMULATIONS))
    return [found for found in made if found is not None]


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("within", [False, True], ids=["across", "within"])
def test_without_a_relation_one_is_rarely_claimed(design, within):
    found = intervals(DESIGNS[design], ranks=True, within_models=within)
    if within and DESIGNS[design]["fractions"] == 1:
        assert not found
        return
    assert len(found) == SIMULATIONS
    assert np.mean([not r.low <= 0 <= r.high for r in found]) <= MOST_FALSE_ALARMS
    assert np.mean([r.p <= 0.05 for r in found]) <= MOST_FALSE_ALARMS


def test_points_taken_as_independent_would_be_claimed_every_other_time():
    """What the test above is for: that the designs can fail."""
    rng = np.random.default_rng(0)
    alarms = []
    for run in range(100):
        measured = simulated(rng, models=8, fractions=5)
        points = np.arange(len(measured.x))
        apart = Measured(x=measured.x, y=measured.y, model=points, condition=np.zeros_like(points))
        alarms.append(relation(apart, ranks=True, swaps=400, seed=run).p <= 0.05)
    assert np.mean(alarms) > 0.3


@pytest.mark.parametrize("design", ["8 models, own levels", "12 models, one fraction"])
def test_an_interval_covers_a_relation_that_is_there(design):
    rho = 0.7
    found = intervals(DESIGNS[design] | {"rho": rho, "noise": 0.0}, ranks=False)
    assert 0.91 <= np.mean([r.low <= rho <= r.high for r in found]) <= 0.99


def test_four_models_have_no_interval():
    found = intervals({"models": 4, "fractions": 5, "trend": 1}, ranks=True)
    assert len(found) == SIMULATIONS
    assert all(np.isnan([r.low, r.high, r.p]).all() for r in found)


def test_an_interval_leaves_zero_out_only_where_swaps_do():
    found = intervals(DESIGNS["8 models, own levels"] | {"rho": 0.6}, ranks=True)
    assert all(r.p <= 0.05 for r in found if r.low > 0 or r.high < 0)
    assert np.mean([r.low > 0 for r in found]) > 0.2


def test_models_are_left_out_one_by_one():
    x = np.array([0.0, 1, 2, 3, 10])
    y = np.array([0.0, 1, 2, 3, -10])
    measured = Measured(x=x, y=y, model=np.arange(5), condition=np.zeros(5, int))
    low, high = without_each_model(measured, ranks=True)
    assert high == pytest.approx(1)  # without the last
    assert low < 0
