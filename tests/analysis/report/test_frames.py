"""From rows to means with their intervals."""

import numpy as np
import pandas as pd
import pytest

from microtome.analysis.report.frames import over_seeds, plain, plain_derived, spread
from microtome.store.frames import tidy
from microtome.store.results import DERIVED_COLUMNS


def frame(*rows):
    return plain(tidy([{"kind": "finetune", "task": "t", "metric": "accuracy", **row} for row in rows]))


def means(*rows):
    rows = [
        {"kind": "finetune", "task": "t", "metric": "accuracy", "quantity": "mean", **row} for row in rows
    ]
    return plain_derived(tidy(rows, DERIVED_COLUMNS))


def test_a_single_seed_keeps_its_own_interval():
    (row,) = over_seeds(frame({"seed": 1, "value": 0.5, "low": 0.4, "high": 0.7}), ["task"]).to_dict(
        "records"
    )
    assert (row["mean"], row["low"], row["high"], row["seeds"]) == (0.5, 0.4, 0.7, 1)
    assert np.isnan(row["deviation"])


def test_several_seeds_take_the_interval_that_is_derived_over_them():
    rows = frame(
        {"seed": 1, "value": 0.5, "low": 0.4, "high": 0.6},
        {"seed": 2, "value": 0.7, "low": 0.6, "high": 0.8},
    )
    over_both = means({"value": 0.6, "low": 0.45, "high": 0.75, "seeds": 2})
    (row,) = over_seeds(rows, ["task", "metric"], over_both).to_dict("records")
    assert (row["low"], row["high"], row["seeds"]) == (0.45, 0.75, 2)
    assert row["mean"] == pytest.approx(0.6)
    assert row["deviation"] == pytest.approx(np.std([0.5, 0.7], ddof=1))


def test_several_seeds_without_a_derived_interval_have_none():
    rows = frame(
        {"seed": 1, "value": 0.5, "low": 0.4, "high": 0.6},
        {"seed": 2, "value": 0.7, "low": 0.6, "high": 0.8},
    )
    found = over_seeds(rows, ["task"])
    assert found[["low", "high"]].isna().all(axis=None)
    low, high = spread(found)
    deviation = np.std([0.5, 0.7], ddof=1)
    assert (low[0], high[0]) == pytest.approx((0.6 - deviation, 0.6 + deviation))


def test_derived_intervals_find_rows_without_a_layer():
    rows = frame(
        {"seed": 1, "value": 0.5, "probe": "majority"},
        {"seed": 2, "value": 0.5, "probe": "majority"},
        {"seed": 1, "value": 0.9, "probe": "linear", "layer": 0},
    )
    of_majority = means({"value": 0.5, "probe": "majority", "low": 0.4, "high": 0.6})
    found = over_seeds(rows, ["probe", "layer"], of_majority).set_index("probe")
    assert found.loc["majority", ["low", "high"]].tolist() == [0.4, 0.6]
    assert np.isnan(found.loc["linear", "low"])


def test_rows_without_a_value_are_left_out():
    assert len(frame({"value": float("inf")}, {"value": float("nan")}, {"value": 1.0})) == 1
    assert plain(pd.DataFrame({"value": [1.0], "novel": ["x"]}))["stage"].tolist() == [""]
