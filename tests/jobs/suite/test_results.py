import numpy as np
import pandas as pd
import pytest

from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.terms import ScoreKey, metric_terms
from microtome.jobs.suite.results import _corrected, _derived, without_places
from microtome.store.results import DERIVED_COLUMNS


def test_gains_means_and_differences_are_derived_from_scores_by_example():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 200)

    def scores(wrong, seeds=1):
        flips = [np.random.default_rng(s).permutation(200)[:wrong] for s in range(seeds)]
        predictions = [np.where(np.isin(np.arange(200), f), 1 - gold, gold) for f in flips]
        return [metric_terms("accuracy", class_labels(gold, p, ["no", "yes"])) for p in predictions]

    found = list(
        _derived(
            {
                ("finetune", "t", ScoreKey()): {
                    ("bert", 0.0): scores(100),
                    ("bert", 100.0): scores(40, seeds=2),
                    ("biobert", 100.0): scores(20),
                },
                ("probe", "t", ScoreKey("linear", 3)): {
                    ("bert", 0.0): scores(60),
                    ("bert", 100.0): scores(60),
                },
            }
        )
    )
    rows = {(row["kind"], row["quantity"], row["model"]): row for row in found}
    assert set(rows) == {
        ("finetune", "mean", "bert"),
        ("finetune", "gain", "bert"),
        ("finetune", "difference", "biobert"),
        ("probe", "gain", "bert"),
    }
    assert rows["finetune", "mean", "bert"]["value"] == pytest.approx(0.8)
    gain = rows["finetune", "gain", "bert"]
    assert gain["value"] == pytest.approx(0.3)
    assert 0.1 < gain["low"] < 0.3 < gain["high"] < 0.5
    difference = rows["finetune", "difference", "biobert"]
    assert (difference["reference_model"], difference["value"]) == ("bert", pytest.approx(0.1))
    assert (difference["fraction"], difference["reference_fraction"]) == (100, 100)
    assert (gain["reference_model"], gain["reference_fraction"], gain["seeds"]) == ("bert", 0, 1)
    assert rows["finetune", "mean", "bert"]["seeds"] == 2
    same = rows["probe", "gain", "bert"]
    assert (same["value"], same["low"], same["high"], same["layer"]) == (0, 0, 0, 3)
    assert (gain["seeds"], gain["interval"], same["p"]) == (1, "percentile", 1)
    assert set().union(*found) - {"name"} <= set(DERIVED_COLUMNS)


def test_p_values_are_corrected_over_the_comparisons_of_a_task_and_kind():
    def row(p, quantity="gain", task="t", **more):
        return {"kind": "finetune", "task": task, "quantity": quantity, "p": p, **more}

    rows = [row(0.02), row(0.01), row(0.03, "difference"), row(0.04, task="other")]
    rows.append({"kind": "finetune", "task": "t", "quantity": "mean"})
    corrected = _corrected(rows)
    assert [r.get("p") for r in corrected] == [0.02, 0.02, 0.03, 0.04, None]


def test_a_page_for_others_names_no_folder_of_this_machine():
    models = ["bert", "/home/me/a/mine", "/home/me/b/mine", "~/models/bert", "../other", "org/name"]
    rows = pd.DataFrame({"model": models, "reference_model": [None, *models[:5]], "value": 1.0}).astype(
        {"reference_model": "string"}
    )
    [shown] = without_places(rows)
    assert list(shown["model"]) == ["bert", "a/mine", "b/mine", "models/bert", "other", "org/name"]
    assert list(shown["reference_model"][1:]) == list(shown["model"][:5])
    assert list(rows["model"]) == models
    pd.testing.assert_frame_equal(without_places(rows[:1])[0], rows[:1])
    _, one = without_places(rows[["model"]], rows[1:2])
    assert list(one["model"]) == ["a/mine"]  # one model has one name in all tables
