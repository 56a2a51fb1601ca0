"""The correlation section on rows built by hand."""

import csv
from itertools import product

import pytest

from microtome.analysis.report.sections.correlation import correlation_section

SEEDS = (1, 2, 3)


@pytest.fixture
def rows():
    """A probe whose score rises with the downstream score, and its compression, which does not."""
    made = []
    for model, fraction, seed in product(("one", "two"), (10, 100), SEEDS):
        at = {"task": "pairs", "model": model, "fraction": fraction, "seed": seed, "split": "test"}
        y = 0.4 + fraction / 300 + seed / 50 + (model == "two") / 10
        made.append({**at, "kind": "finetune", "metric": "accuracy", "value": y})
        probe = {**at, "kind": "probe", "probe": "linear", "layer": 0}
        made.append({**probe, "metric": "accuracy", "value": y / 2})
        made.append({**probe, "metric": "compression", "value": 1 + ((seed * 7 + fraction) % 5) / 10})
    return made


def test_the_strongest_predictor_is_drawn_and_claims_are_said(results, rows):
    section = correlation_section(results(rows))
    claims = [str(claim) for claim in section.findings["pairs"]]
    supported = next(claim for claim in claims if claim.startswith("Linear: accuracy"))
    assert "the downstream score is higher where it is higher <small>(Spearman's rho 1.00" in supported
    assert "95% interval" in supported
    (figure,) = section.figures
    assert "linear: accuracy" in figure.pictures[0].svg
    assert all(name in figure.pictures[0].svg for name in ("one", "two", "10 %", "100 %"))
    points = list(csv.DictReader(figure.table.csv.splitlines()))
    assert len(points) == 12
    assert {point["predictor"] for point in points} == {"linear: accuracy"}


def test_correlations_have_intervals_and_counts(results, rows):
    (table,) = correlation_section(results(rows)).more
    found = list(csv.DictReader(table.csv.splitlines()))
    assert {row["over"] for row in found} == {"points", "within models"}
    best = next(row for row in found if row["predictor"] == "linear: accuracy" and row["over"] == "points")
    assert (best["n"], best["spearman"], best["spearman high"]) == ("12", "1", "1")
    assert float(best["spearman low"]) > 0.9
    assert "pearson low" in best


def test_too_few_points_leave_the_section_out(results, rows):
    assert correlation_section(results([row for row in rows if row["seed"] == 1][:3])) is None


def test_rows_derived_over_seeds_are_no_points(results, rows):
    derived = [{**row, "quantity": "mean", "seed": None} for row in rows if row["kind"] == "finetune"]
    (table,) = correlation_section(results(rows, derived)).more
    assert {row["n"] for row in csv.DictReader(table.csv.splitlines())} == {"12"}
