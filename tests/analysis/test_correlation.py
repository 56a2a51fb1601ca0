from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from microtome.analysis.correlation import Predictor, Verdict, claims, correlations, points
from microtome.store.frames import tidy

MODELS, FRACTIONS, SEEDS, LAYERS = ("one", "two"), (0, 10, 50, 100), (1, 2), 3


def runs(task="t", models=MODELS):
    return [
        {"task": task, "model": model, "fraction": fraction, "seed": seed}
        for model in models
        for fraction in FRACTIONS
        for seed in SEEDS
    ]


def score(run):
    """A downstream score that rises with the training data, from a level of the model's own."""
    return 0.3 + 0.1 * MODELS.index(run["model"]) + 0.004 * run["fraction"] + 0.01 * run["seed"]


def tuned(task="t", metric="accuracy", value=score, **more):
    return [
        {"kind": "finetune", "split": "test", "metric": metric, "value": value(run), **run, **more}
        for run in runs(task)
    ]


def probed(task="t", metric="accuracy", value=lambda run, layer: score(run) / 2 + 0.01 * layer, **more):
    """Before fine-tuning, a probe is shared by the seeds."""
    found = []
    for run in runs(task):
        if run["fraction"] == 0 and run["seed"] != SEEDS[0]:
            continue
        for layer in range(LAYERS):
            cell = {"kind": "probe", "split": "test", "probe": "linear", "layer": layer, "metric": metric}
            own = {"seed": None} if run["fraction"] == 0 else {}
            found.append({**cell, "value": value(run, layer), **run, **own, **more})
    return found


def attended(metric="cosine", value=lambda run, layer, head: 1 - score(run) / 2 - 0.1 * head, **more):
    return [
        {"kind": "attention", "split": "test", "layer": layer, "head": head, "metric": metric}
        | {"value": value(run, layer, head), **run, **more}
        for run in runs()
        for layer in range(LAYERS)
        for head in range(2)
    ]


def alike(stage="across"):
    return [
        {"kind": "similarity", "split": "test", "stage": stage, "layer": layer, "other_layer": other}
        | {"metric": "linear_cka", "value": 1 - score(run) / 3 if layer == other else 0.0, **run}
        for run in runs()
        for layer in range(LAYERS)
        for other in range(LAYERS)
    ]


def only(table, **cells):
    for name, cell in cells.items():
        table = table[table[name] == cell]
    return table


def predictors(table):
    return set(table[["method", "metric"]].itertuples(index=False, name=None))


def test_a_point_is_a_predictor_beside_the_primary_score():
    rows = tidy(
        tuned()
        + tuned(metric="macro_f1", value=lambda run: 0.0)
        + tuned(split="dev", value=lambda run: 0.0)
        + tuned(label="a class", value=lambda run: 0.0)
        + probed()
        + probed(metric="macro_f1", value=lambda run, layer: 0.0)
        + probed(metric="selectivity", value=lambda run, layer: 0.1 * layer)
        + probed(metric="compression", value=lambda run, layer: 2.0)
    )
    found = points(rows)
    assert predictors(found) == {("linear", "accuracy"), ("", "selectivity"), ("", "compression")}
    assert set(found["layer"]) == {"0", "1", "2", "best", "last"}
    assert not found.duplicated(["task", "model", "fraction", "seed", "method", "metric", "layer"]).any()
    one = only(found, model="two", fraction=50, seed=2, method="linear").set_index("layer")
    run = {"model": "two", "fraction": 50, "seed": 2}
    assert one["y"].tolist() == pytest.approx([score(run)] * 5)
    assert one["x"][["0", "1", "2", "best", "last"]].tolist() == pytest.approx(
        [score(run) / 2 + 0.01 * layer for layer in (0, 1, 2, 2, 2)]
    )
    assert only(found, metric="selectivity", layer="best")["x"].to_numpy() == pytest.approx(0.2)


def test_a_probe_before_fine_tuning_stands_for_every_seed():
    found = only(points(tidy(tuned() + probed())), fraction=0, layer="1")
    assert sorted(zip(found["model"], found["seed"], strict=True)) == [(m, s) for m in MODELS for s in SEEDS]
    assert only(found, model="one")["x"].nunique() == 1
    assert only(found, model="one")["y"].nunique() == 2


def test_changes_are_means_over_heads_without_fraction_zero_and_without_patterns():
    rows = tidy(
        tuned()
        + attended()
        + attended("cosine_std", lambda run, layer, head: 9.0)
        + attended("entropy", lambda run, layer, head: 9.0, stage="before")
        + attended("cosine", lambda run, layer, head: 9.0, stage="after")
        + alike()
        + alike("after")
    )
    found = points(rows)
    assert predictors(found) == {("attention", "cosine"), ("", "linear_cka")}
    assert set(found["layer"]) == {"0", "1", "2", "mean", "last"}
    assert found["fraction"].min() == 10
    one = only(found, model="one", fraction=10, seed=1)
    run = {"model": "one", "fraction": 10, "seed": 1}
    assert only(one, method="attention")["x"].to_numpy() == pytest.approx(1 - score(run) / 2 - 0.05)
    assert only(one, metric="linear_cka")["x"].to_numpy() == pytest.approx(1 - score(run) / 3)


def test_the_last_layer_is_each_models_own_and_the_best_is_the_highest():
    rows = probed(value=lambda run, layer: 0.5 - 0.1 * layer)
    rows = [row for row in rows if row["model"] == "one" or row["layer"] < 2]
    found = only(points(tidy(tuned() + rows)), fraction=10, seed=1)
    assert only(found, layer="best")["x"].to_numpy() == pytest.approx(0.5)
    assert only(found, layer="last", model="one")["x"].to_numpy() == pytest.approx(0.3)
    assert only(found, layer="last", model="two")["x"].to_numpy() == pytest.approx(0.4)


def test_a_relation_probe_is_compared_by_f1_of_the_relations():
    rows = tidy(
        tuned() + probed() + probed(metric="micro_f1") + probed(metric="mix_weight", probe="scalar-mix")
    )
    assert predictors(points(rows)) == {("linear", "micro_f1")}


def test_two_probes_keep_their_extras_apart():
    rows = tidy(tuned() + probed(metric="selectivity") + probed(metric="selectivity", probe="mlp"))
    assert predictors(points(rows)) == {("linear", "selectivity"), ("mlp", "selectivity")}


@pytest.mark.parametrize("rows", [[], tuned(), probed(), attended() + alike(), tuned(metric="loss")])
def test_without_both_sides_there_are_no_points_and_nothing_is_claimed(rows):
    found = points(tidy(rows))
    assert found.empty
    related = correlations(found)
    assert related.empty
    assert "spearman_low" in related
    assert claims(related) == []


def test_rows_without_columns_that_no_kind_needed_are_read():
    rows = tidy(tuned() + probed()).drop(columns=["other_layer", "stage"])
    assert len(points(rows)) == 16 * (LAYERS + 2)


def planted(x, y, models=8, task="t", method="linear", metric="accuracy", layer="best", score="accuracy"):
    """Points of some models, fraction by fraction."""
    n = len(x)
    columns = {"task": task, "model": [f"m{number % models}" for number in range(n)], "seed": 1}
    columns |= {"fraction": [10.0 * (number // models) for number in range(n)]}
    columns |= {"method": method, "metric": metric, "layer": layer, "x": x, "y": y, "score": score}
    return pd.DataFrame(columns)


def test_of_independent_models_the_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = rng.integers(6, size=40) / 5  # with ties
    y = x + rng.normal(size=40)
    (row,) = correlations(planted(x, y, models=40)).to_dict("records")
    assert (row["over"], row["n"], row["models"]) == ("across models", 40, 40)
    for measure, function in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        assert row[measure] == pytest.approx(function(x, y).statistic)
    expected = stats.pearsonr(x, y).confidence_interval(0.95)
    assert [row["pearson_low"], row["pearson_high"]] == pytest.approx(list(expected), abs=0.05)
    permuted = stats.permutation_test(
        (x,), lambda x: stats.spearmanr(x, y).statistic, permutation_type="pairings", n_resamples=2000
    )
    assert row["p"] == pytest.approx(permuted.pvalue, abs=0.02)


def test_what_more_data_does_to_all_models_is_no_relation():
    rng = np.random.default_rng(1)
    trend = np.repeat([0.0, 5.0, 10.0], 8)
    points = planted(trend + rng.normal(size=24), trend + rng.normal(size=24))
    assert stats.spearmanr(points["x"], points["y"]).statistic > 0.8
    for row in correlations(points).to_dict("records"):
        assert row["spearman_low"] < 0 < row["spearman_high"]
        assert row["p"] > 0.05


def test_models_that_differ_are_a_relation_across_models_only():
    rng = np.random.default_rng(1)
    level = np.tile(np.arange(8.0), 5)
    rows = correlations(planted(level + rng.normal(size=40) / 2, level + rng.normal(size=40) / 2))
    found = rows.set_index("over")
    assert found["spearman_low"]["across models"] > 0.5
    assert found["p"]["across models"] < 0.01
    assert found["spearman_low"]["within models"] < 0 < found["spearman_high"]["within models"]
    gain = np.tile(rng.permutation(8.0 + np.arange(8)), 5) * np.repeat(np.arange(5), 8)
    opposed = correlations(planted(gain - 99 * level, gain + 99 * level)).set_index("over")
    assert opposed["spearman_high"]["across models"] < 0
    assert opposed["pearson"]["within models"] == pytest.approx(1)


def test_seeds_are_averaged_and_add_no_points():
    rng = np.random.default_rng(2)
    one = planted(rng.normal(size=24), rng.normal(size=24))
    other = one.assign(x=one["x"] + 0.1, y=one["y"] - 0.1, seed=2)
    for single, double in zip(
        correlations(one).to_dict("records"),
        correlations(pd.concat([one, other])).to_dict("records"),
        strict=True,
    ):
        assert single["n"] == double["n"] == 24
        assert single["spearman"] == pytest.approx(double["spearman"])


def test_under_six_models_there_is_a_correlation_without_an_interval():
    x = np.tile(np.arange(5.0), 5)
    (row,) = correlations(planted(x, x, models=5)).to_dict("records")
    assert (row["spearman"], row["models"], row["n"]) == (pytest.approx(1), 5, 25)
    assert np.isnan([row["spearman_low"], row["spearman_high"], row["p"]]).all()
    (claim,) = claims(correlations(planted(x, x, models=5)))
    assert claim.verdict is Verdict.TOO_FEW_MODELS


def test_a_perfect_relation_of_a_few_models_does_not_end_at_one_point():
    x = np.tile(np.arange(6.0), 2)
    (row,) = correlations(planted(x, x, models=6)).to_dict("records")
    assert row["spearman"] == pytest.approx(1)
    assert 0 < row["spearman_low"] < 0.9
    assert row["p"] < 0.01


def test_a_relation_that_one_model_makes_is_not_shown():
    x = np.arange(9.0)
    (claim,) = claims(correlations(planted(x, x, models=9)))
    assert claim.verdict is Verdict.HIGHER
    assert replace(claim, without_one=(-0.1, 0.9)).verdict is Verdict.NOT_SHOWN
    assert replace(claim, p=0.06).verdict is Verdict.NOT_SHOWN


def test_all_tasks_are_pooled_only_where_there_are_several():
    rng = np.random.default_rng(2)
    x = rng.normal(size=20)
    easy, hard = planted(x, x + 0.1 * rng.normal(size=20)), planted(x - 9, x + 9, task="hard")
    alone = planted(x, x, method="", metric="compression")
    found = correlations(pd.concat([easy, hard, alone]))
    pooled = only(found, task="all tasks")
    assert predictors(pooled) == {("linear", "accuracy")}
    assert only(pooled, over="across models")["n"].tolist() == [40]
    assert pooled["pearson"].min() > 0.95


def test_tasks_with_different_metrics_are_never_pooled():
    rng = np.random.default_rng(2)
    parts = [
        planted(rng.normal(size=20), rng.normal(size=20), task=task, score=score)
        for task, score in (("a", "accuracy"), ("b", "entity_f1"), ("c", "entity_f1"))
    ]
    assert set(correlations(pd.concat(parts[:2]))["task"]) == {"a", "b"}
    table = correlations(pd.concat(parts))
    assert set(table["task"]) == {"a", "b", "c", "all tasks by entity_f1"}
    assert set(only(table, task="all tasks by entity_f1")["n"]) <= {40, 38}


@pytest.mark.parametrize(
    ("x", "y"),
    [([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), ([0.1] * 9, np.arange(9.0)), (np.arange(9.0), [0.7] * 9)],
)
def test_few_points_and_constants_have_no_row(x, y):
    assert correlations(planted(x, y, models=9)).empty


def test_a_model_with_one_point_counts_for_nothing_within_models():
    rng = np.random.default_rng(3)
    found = correlations(planted(rng.normal(size=15), rng.normal(size=15)))
    assert found.set_index("over")["n"].to_dict() == {"across models": 15, "within models": 14}


def test_seeds_repeat_and_do_not_depend_on_the_other_cells():
    rng = np.random.default_rng(4)
    one = planted(rng.normal(size=16), rng.normal(size=16))
    other = planted(rng.normal(size=9), rng.normal(size=9), method="", metric="compression")
    alone, both = correlations(one), correlations(pd.concat([other, one]))
    pd.testing.assert_frame_equal(alone, only(both, method="linear").reset_index(drop=True), check_exact=True)
    assert not alone.equals(correlations(one, seed=1))


def test_a_claim_says_which_way_how_sure_and_of_how_many():
    rng = np.random.default_rng(5)
    x = np.arange(30.0)
    parts = [
        planted(x, x + rng.normal(size=30), 30, metric="up"),
        planted(x, -x + rng.normal(size=30), 30, metric="down", layer="mean"),
        planted(x, np.resize([0.0, 1.0], 30), 30, metric="none"),
        planted(x[:5], x[:5], 30, metric="few"),
        planted(x, x, 30, metric="one layer", layer="3"),
    ]
    related = correlations(pd.concat(parts))
    made = {claim.predictor.metric: claim for claim in claims(related)}
    assert {metric: claim.verdict for metric, claim in made.items()} == {
        "up": Verdict.HIGHER,
        "down": Verdict.LOWER,
        "none": Verdict.NOT_SHOWN,
        "few": Verdict.TOO_FEW_MODELS,
    }
    up = made["up"]
    assert (up.task, up.predictor, up.layer, up.n, up.models) == (
        "t",
        Predictor(method="linear", metric="up"),
        "best",
        30,
        30,
    )
    assert 0.9 < up.low < up.rho < up.high <= 1
    assert made["down"].layer == "mean"
    assert up.p == pytest.approx(3 * related["p"].min())  # Holm, over the three tests


def test_a_planted_relation_is_found_from_the_rows_on():
    rng = np.random.default_rng(6)
    rows = tuned() + probed(value=lambda run, layer: score(run) + 0.02 * rng.normal()) + attended() + alike()
    found = correlations(points(tidy(rows)), swaps=500)
    best = only(found, task="t", method="linear", layer="best", over="across models").iloc[0]
    assert (best["models"], best["n"]) == (2, len(MODELS) * len(FRACTIONS))
    assert best["spearman"] > 0.5
    assert np.isnan(best["spearman_low"])
    changed = only(found, method="attention", layer="mean")
    assert changed["n"].tolist() == [6]
    assert changed["pearson"].to_numpy() == pytest.approx(-1)
