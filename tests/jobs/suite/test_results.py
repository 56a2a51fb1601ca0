import numpy as np
import pandas as pd
import pytest

from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.terms import ScoreKey, metric_terms
from microtome.jobs.suite.results import _drawn, without_places


def test_gains_means_and_differences_are_drawn_from_scores_by_example():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 200)

    def scores(wrong, seeds=1):
        flips = [np.random.default_rng(s).permutation(200)[:wrong] for s in range(seeds)]
        predictions = [np.where(np.isin(np.arange(200), f), 1 - gold, gold) for f in flips]
        return [metric_terms("accuracy", class_labels(gold, p, ["no", "yes"])) for p in predictions]

    found = list(
        _drawn(
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
    rows = {(row["kind"], row["stage"], row["model"]): row for row in found}
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
    assert (difference["label"], difference["value"]) == ("bert", pytest.approx(0.1))
    same = rows["probe", "gain", "bert"]
    assert (same["value"], same["low"], same["high"], same["layer"]) == (0, 0, 0, 3)


def test_a_page_for_others_names_no_folder_of_this_machine():
    models = ["bert", "/home/me/a/mine", "/home/me/b/mine", "~/models/bert", "../other", "org/name"]
    rows = pd.DataFrame({"model": models, "label": [None, *models[:5]], "value": 1.0}).astype(
        {"label": "string"}
    )
    shown = without_places(rows)
    assert list(shown["model"]) == ["bert", "a/mine", "b/mine", "models/bert", "other", "org/name"]
    assert list(shown["label"][1:]) == list(shown["model"][:5])
    assert list(rows["model"]) == models
    pd.testing.assert_frame_equal(without_places(rows[:1]), rows[:1])
