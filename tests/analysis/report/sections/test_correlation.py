"""The correlation section on rows built by hand."""

import csv
from itertools import product

import pytest

from microtome.analysis.report.sections.correlation import correlation_section

SEEDS = (1, 2, 3)
MODELS = tuple(f"model-{number}" for number in range(7))


@pytest.fixture
def rows():
    """A probe whose score rises with the downstream score, and its compression, which does not."""
    made = []
    for model, fraction, seed in product(range(7), (10, 100), SEEDS):
        at = {"task": "pairs", "model": MODELS[model], "fraction": fraction, "seed": seed, "split": "test"}
        y = 0.4 + fraction / 300 + seed / 50 + model / 10
        made.append({**at, "kind": "finetune", "metric": "accuracy", "value": y})
        probe = {**at, "kind": "probe", "probe": "linear", "layer": 0}
        made.append({**probe, "metric": "accuracy", "value": y / 2})
        made.append({**probe, "metric": "compression", "value": 1 + (model * 3 % 7) / 10 + fraction / 300})
    return made


def test_the_strongest_predictor_is_drawn_and_claims_are_said(results, rows):
    section = correlation_section(results(rows))
    claims = [str(claim) for claim in section.findings["pairs"]]
    supported = next(claim for claim in claims if claim.startswith("Linear: accuracy"))
    assert "the downstream score is higher where it is higher <small>(Spearman's rho 1.00" in supported
    assert "7 models, 14 points" in supported
    assert "no relation is shown" in next(claim for claim in claims if claim.startswith("Compression"))
    (figure,) = section.figures
    assert "linear: accuracy" in figure.pictures[0].svg
    assert all(name in figure.pictures[0].svg for name in (*MODELS, "10 %", "100 %"))
    points = list(csv.DictReader(figure.table.csv.splitlines()))
    assert len(points) == 42
    assert {point["predictor"] for point in points} == {"linear: accuracy"}


def test_downstream_against_probing_is_shown_where_another_predictor_is_stronger(results, rows):
    """The probe's score is what compression was, compression what the score was."""
    swap = {"accuracy": "compression", "compression": "accuracy"}
    swapped = [row | {"metric": swap[row["metric"]]} if row["kind"] == "probe" else row for row in rows]
    (figure,) = correlation_section(results(swapped)).figures
    points = csv.DictReader(figure.table.csv.splitlines())
    assert list(dict.fromkeys(point["predictor"] for point in points)) == ["linear: accuracy", "compression"]


def test_correlations_have_intervals_and_counts(results, rows):
    (table,) = correlation_section(results(rows)).more
    found = list(csv.DictReader(table.csv.splitlines()))
    best = next(row for row in found if row["predictor"] == "linear: accuracy")
    assert (best["over"], best["models"], best["n"], best["spearman"]) == ("across models", "7", "14", "1")
    assert float(best["spearman low"]) > 0.3
    assert float(best["p"]) < 0.05
    assert best["lowest without one"] == "1"
    assert "pearson low" in best


def test_few_models_have_no_interval_and_the_page_says_why(results, rows):
    section = correlation_section(results([row for row in rows if row["model"] in MODELS[:4]]))
    assert all("4 models are too few for an interval" in str(claim) for claim in section.findings["pairs"])
    assert "from 6 models on" in section.note
    assert len(section.figures) == 1


def test_too_few_points_leave_the_section_out(results, rows):
    assert correlation_section(results([row for row in rows if row["seed"] == 1][:3])) is None


def test_rows_derived_over_seeds_are_no_points(results, rows):
    derived = [{**row, "quantity": "mean", "seed": None} for row in rows if row["kind"] == "finetune"]
    (table,) = correlation_section(results(rows, derived)).more
    assert {row["n"] for row in csv.DictReader(table.csv.splitlines())} == {"14"}
