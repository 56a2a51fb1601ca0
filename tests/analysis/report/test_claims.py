"""How claims are written on the page."""

from dataclasses import replace

import pytest

from microtome.analysis.correlation import Claim, Predictor
from microtome.analysis.report.claims import note, predictor_name, sentences

UP = Claim(
    task="pairs, and (more)",
    predictor=Predictor(method="linear", metric="macro_f1"),
    layer="best",
    over="across models",
    models=8,
    n=24,
    rho=0.9,
    low=0.8,
    high=0.95,
    p=0.002,
    without_one=(0.85, 0.93),
)
DOWN = replace(UP, rho=-0.5, low=-0.7, high=-0.25, without_one=(-0.6, -0.4), over="within models")
UNSURE = replace(UP, p=0.2, layer="mean")
FEW = replace(UP, models=4, p=float("nan"), low=float("nan"), high=float("nan"), task="other")


def test_the_claims_of_a_predictor_and_layer_are_one_sentence_and_tasks_stand_apart():
    found = sentences([UP, DOWN, UNSURE, FEW])
    assert list(found) == ["pairs, and (more)", "other"]
    both, unsure = map(str, found["pairs, and (more)"])
    assert both == (
        "Linear: macro F1, at its best layer: across models, the downstream score is higher where it is "
        "higher <small>(Spearman's rho 0.90, 95% interval 0.80 to 0.95, p = 0.002; 0.85 to 0.93 without one "
        "of the models; 8 models, 24 points)</small>; within models, the downstream score is lower where it "
        "is higher <small>(Spearman's rho \N{MINUS SIGN}0.50, 95% interval \N{MINUS SIGN}0.70 to "
        "\N{MINUS SIGN}0.25, p = 0.002; \N{MINUS SIGN}0.60 to \N{MINUS SIGN}0.40 without one of the models; "
        "8 models, 24 points)</small>."
    )
    assert "mean over layers: across models, no relation is shown <small>" in unsure
    (few,) = map(str, found["other"])
    assert few.endswith(
        "across models, 4 models are too few for an interval <small>(Spearman's rho 0.90, 4 models, "
        "24 points)</small>."
    )


def test_names_that_look_like_markup_or_like_a_claim_stay_text():
    odd = replace(UP, predictor=Predictor(method="<b>(Spearman", metric="x: y_z"))
    (sentence,) = sentences([odd])["pairs, and (more)"]
    assert sentence.startswith("&lt;b&gt;(Spearman: x: y z, at its best layer")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([UP, DOWN, UNSURE], ["by Holm's correction over 3 tests."]),
        ([UP, FEW], ["has an interval from 6 models on", "over 1 test."]),
        ([FEW], ["has an interval from 6 models on"]),
        ([], ["Nothing can be said"]),
    ],
)
def test_the_note_says_what_all_claims_rest_on(claims, expected):
    text = note(claims)
    assert all(part in text for part in expected)
    assert ("Holm" in text) == any(claim is not FEW for claim in claims)


def test_a_metric_without_a_method_is_named_by_itself():
    assert predictor_name(Predictor(method="", metric="linear_cka")) == "linear CKA"
