"""The probing section on rows built by hand."""

import csv
from itertools import product

import pytest

from microtome.analysis.report.sections.probing import probing_section
from microtome.analysis.report.sections.results import best_layers

MODELS, FRACTIONS, SEEDS = ("one", "two"), (0, 100), (1, 2)


@pytest.fixture
def rows():
    """Two models before and after, with all that a probing job writes."""
    made = []
    for model, fraction in product(MODELS, FRACTIONS):
        at = {"kind": "probe", "task": "pairs", "model": model, "fraction": fraction, "split": "test"}
        for seed in SEEDS if fraction else (None,):
            for probe, value in (("majority", 0.3), ("bag-of-words", 0.4), ("scalar-mix", 0.8)):
                row = {**at, "seed": seed, "probe": probe, "metric": "accuracy", "value": value}
                made += [{**row, "low": value - 0.1, "high": value + 0.1}]
            mix = {**at, "seed": seed, "probe": "scalar-mix"}
            made.append({**mix, "metric": "centre_of_gravity", "value": 1.25})
            for layer in range(3):
                made.append({**mix, "metric": "mix_weight", "layer": layer, "value": (layer + 1) / 6})
                row = {**at, "seed": seed, "probe": "linear", "layer": layer}
                score = 0.5 + 0.1 * (layer == 1) + fraction / 500
                made.append({**row, "metric": "strength", "value": 1000.0})
                made.append(
                    {**row, "metric": "accuracy", "value": score, "low": score - 0.2, "high": score + 0.1}
                )
                made.append({**row, "metric": "codelength", "value": 2e6})
                made.append({**row, "metric": "compression", "value": 2.5})
                made.append({**row, "metric": "selectivity", "value": 0.2, "low": 0.1, "high": 0.3})
    return made


@pytest.fixture
def derived():
    """Means over seeds, and gains, of every layer of the linear probe."""
    made = []
    for model, layer in product(MODELS, range(3)):
        at = {"kind": "probe", "task": "pairs", "model": model, "fraction": 100, "split": "test"}
        at |= {"probe": "linear", "layer": layer, "metric": "accuracy"}
        score = 0.5 + 0.1 * (layer == 1) + 0.2
        made.append({**at, "quantity": "mean", "value": score, "low": score - 0.05, "high": score + 0.05})
        made.append({**at, "quantity": "gain", "value": 0.2, "low": 0.05, "high": 0.35})
    return made


@pytest.fixture
def section(results, rows, derived):
    return probing_section(results(rows, derived))


def records(table):
    return list(csv.DictReader(table.csv.splitlines()))


def test_each_probe_and_what_stands_beside_it_has_a_figure(section):
    assert [(figure.title, figure.folded) for figure in section.figures] == [
        ("Linear probe, layer by layer", False),
        ("Linear probe: selectivity", True),
        ("Linear probe: compression", True),
        ("Layer weights of a scalar mix", False),
    ]
    idents = [picture.ident for figure in section.figures for picture in figure.pictures]
    assert idents == [f"{name}-1-pairs" for name in ("probing-linear", "selectivity-linear")] + [
        "compression-linear-1-pairs",
        "scalar-mix-1-pairs",
    ]


def test_curves_are_of_the_primary_score_alone(section):
    table = section.figures[0].table
    assert {row["metric"] for row in records(table)} == {"accuracy"}
    layer = next(row for row in records(table) if row["layer"] == "1")
    assert [layer[name] for name in ("0 %", "0 % low", "100 %", "100 % low")] == ["0.6", "0.4", "0.8", "0.75"]


def test_baselines_are_labelled_lines_and_no_layers(section):
    svg = section.figures[0].pictures[0].svg
    assert "majority" in svg
    assert "bag-of-words" in svg
    assert "scalar-mix" not in svg
    assert "majority" not in section.figures[1].pictures[0].svg


def test_the_best_layer_has_its_interval_and_its_gain(section):
    before, after = records(section.more[0])[:2]
    assert (before["layer"], before["score"], before["gain"]) == ("1", "0.6", "")
    assert (after["layer"], after["score low"], after["score high"]) == ("1", "0.75", "0.85")
    assert (after["gain"], after["gain low"], after["gain high"]) == ("0.2", "0.05", "0.35")
    assert (after["majority"], after["bag-of-words low"]) == ("0.3", "0.3")


def test_the_scalar_mix_tells_its_centre_of_gravity_and_its_score(section):
    first = records(section.figures[-1].table)[0]
    assert (first["centre of gravity"], first["score"], first["score low"]) == ("1.25", "0.8", "0.7")


def test_baselines_of_several_probing_jobs_count_once(results, rows):
    twice = [*rows, *(row for row in rows if row["probe"] == "majority")]
    found = results(twice).unlayered
    majority = found[(found["probe"] == "majority") & (found["fraction"] == 0)]
    assert majority["low"].tolist() == pytest.approx([0.2, 0.2])


def test_a_probe_without_a_primary_score_is_left_out(results, rows):
    assert probing_section(results([row for row in rows if row["metric"] == "strength"])) is None


def test_the_best_layer_is_chosen_on_dev_and_scored_on_test(results):
    made = []
    for layer, (dev, test) in enumerate([(0.5, 0.5), (0.8, 0.6), (0.7, 0.9)]):
        at = {"kind": "probe", "task": "t", "model": "m", "fraction": 0, "probe": "linear", "layer": layer}
        made += [{**at, "metric": "accuracy", "split": "dev", "value": dev}]
        made += [{**at, "metric": "accuracy", "split": "test", "value": test}]
    (best,) = best_layers(results(made).probes).to_dict("records")
    assert (best["layer"], best["mean"]) == (1, 0.6)
    (on_test,) = best_layers(results(made[1:]).probes).to_dict("records")  # layer 0 has no score on dev
    assert (on_test["layer"], on_test["mean"]) == (2, 0.9)
