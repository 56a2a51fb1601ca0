"""How claims are written on the page."""

from dataclasses import replace

import pytest

from microtome.analysis.correlation import Claim, Predictor
from microtome.analysis.report.claims import note, predictor_name, sentences

UP = Claim(
    task="pairs, and (more)",
    predictor=Predictor(method="linear", metric="macro_f1"),
    layer="best",
    over="points",
    n=30,
    rho=0.9,
    low=0.8,
    high=0.95,
)
DOWN = replace(UP, rho=-0.5, low=-0.7, high=-0.25, over="within models")
UNSURE = replace(UP, low=-0.1, layer="mean")
FEW = replace(UP, n=6, task="other")


def test_the_claims_of_a_predictor_and_layer_are_one_sentence_and_tasks_stand_apart():
    found = sentences([UP, DOWN, UNSURE, FEW])
    assert list(found) == ["pairs, and (more)", "other"]
    both, unsure = map(str, found["pairs, and (more)"])
    assert both == (
        "Linear: macro F1, at its best layer: over all points, the downstream score is higher where it is "
        "higher <small>(Spearman's rho 0.90, 95% interval 0.80 to 0.95, n = 30)</small>; within models, the "
        "downstream score is lower where it is higher <small>(Spearman's rho \N{MINUS SIGN}0.50, 95% "
        "interval \N{MINUS SIGN}0.70 to \N{MINUS SIGN}0.25, n = 30)</small>."
    )
    assert "mean over layers: over all points, no relation is shown: the interval includes zero" in unsure
    (few,) = map(str, found["other"])
    assert few.endswith("over all points, 6 points are too few to say anything.")
    assert "rho" not in few


def test_names_that_look_like_markup_or_like_a_claim_stay_text():
    odd = replace(UP, predictor=Predictor(method="<b>(Spearman", metric="x: y_z"))
    (sentence,) = sentences([odd])["pairs, and (more)"]
    assert sentence.startswith("&lt;b&gt;(Spearman: x: y z, at its best layer")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ([UP, DOWN, UNSURE, FEW], "These are 3 intervals of 95% each: of so many, about 0.2 would leave"),
        ([UP, FEW], ""),
        ([], "Nothing can be said"),
    ],
)
def test_the_note_counts_intervals(claims, said):
    assert note(claims).startswith(said)
    assert bool(note(claims)) == bool(said)


def test_a_metric_without_a_method_is_named_by_itself():
    assert predictor_name(Predictor(method="", metric="linear_cka")) == "linear CKA"
