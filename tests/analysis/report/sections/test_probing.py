"""The probing section on rows built by hand."""

import csv
from itertools import product

import pytest

from microtome.analysis.report.sections.probing import probing_section
from microtome.analysis.report.sections.results import best_layers
from microtome.analysis.report.sections.summary import summary_section

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


def test_the_score_without_duplicates_stands_beside_that_of_the_best_layer(results, rows, derived):
    assert probing_section(results(rows, derived)).tables == []
    tested = [r for r in rows if r["probe"] == "linear" and r["metric"] == "accuracy"]
    fewer = [{**r, "split": "test without duplicates", "value": r["value"] - 0.1, "n": 40} for r in tested]
    section = probing_section(results([*rows, *fewer], derived))
    lines = [line for line in records(section.tables[0]) if line["fraction"] == "100"]
    assert [(r["model"], r["layer"], r["score"], r["without duplicates"], r["n without"]) for r in lines] == [
        ("one", "1", "0.8", "0.7", "40"),
        ("two", "1", "0.8", "0.7", "40"),
    ]


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


def compared(at, layer, value, p, quantity="from_best_layer", **more):
    """A derived difference of a layer from the best one, layer 1."""
    row = {**at, "layer": layer, "quantity": quantity, "reference_layer": 1, "seeds": 2, "p": p, **more}
    return {**row, "value": value, "low": value - 0.01, "high": value + 0.01}


@pytest.fixture
def layer_rows(derived):
    """Layer 0 is below the best one, layer 2 ties with it; after fine-tuning every layer does."""
    at = {"kind": "probe", "task": "pairs", "model": "one", "split": "test", "probe": "linear"}
    at |= {"metric": "accuracy"}
    before, after = ({**at, "fraction": fraction} for fraction in FRACTIONS)
    rise = compared(after, 1, 0.2, 0.01, "best_layer_gain", effect=4.0, reference_fraction=0)
    of_before = [compared(before, 0, -0.1, 0.001), compared(before, 2, -0.02, 0.2)]
    return [*derived, *of_before, compared(after, 0, -0.1, 0.06), compared(after, 2, 0.1, 0.001), rise]


def test_tied_layers_and_the_rise_stand_beside_the_best_layer(results, rows, layer_rows):
    before, after = records(probing_section(results(rows, layer_rows)).more[0])[:2]
    assert (before["layer"], before["tied"]) == ("1", "1 to 2")
    assert (after["layer"], after["tied"]) == (
        "1",
        "0 to 2",
    )  # neither a larger p nor a better layer is worse
    assert (before["rise"], after["rise"], after["rise low"], after["effect"]) == ("", "0.2", "0.19", "4")


def test_summary_and_table_have_the_same_tied_layers(results, rows, layer_rows):
    table = summary_section(results(rows, layer_rows)).tables[0]
    first = records(table)[0]
    assert (first["tied before"], first["tied after"]) == ("1 to 2", "0 to 2")
    (sentence,) = (
        str(sentence)
        for sentence in summary_section(results(rows, layer_rows)).findings["pairs"]
        if "Best layer" in sentence
    )
    assert "one 1 (tied: 1 to 2) → 1 (tied: 0 to 2)" in sentence
    assert "no move is shown" in sentence


def test_the_rise_of_the_best_layer_is_said_with_its_interval(results, rows, layer_rows):
    sentences = " ".join(map(str, summary_section(results(rows, layer_rows)).findings["pairs"]))
    assert "of one it rises by <b>0.200</b> (95 % interval 0.190 to 0.210)" in sentences
    single = [{**row, "seeds": 1} for row in layer_rows]
    sentences = " ".join(map(str, summary_section(results(rows, single)).findings["pairs"]))
    assert "it rises" not in sentences  # one training run


def test_codelengths_stand_beside_that_of_the_control_task(results, rows):
    control = [
        {**row, "metric": "control_codelength", "value": 3e6} for row in rows if row["metric"] == "codelength"
    ]
    table = probing_section(results([*rows, *control])).more[1]
    assert table.ident == "table-codelengths"
    first = records(table)[0]
    assert (first["codelength"], first["of the control task"]) == ("2e+06", "3e+06")


def test_a_grid_that_is_too_narrow_is_said(results, rows):
    at_end = [
        {**row, "metric": "strength_at_end", "value": 1}
        for row in rows
        if row["metric"] == "strength" and row["layer"] == 2
    ]
    captions = [probing_section(results(made)).figures[0].caption for made in (rows, [*rows, *at_end])]
    assert "beyond its grid" not in captions[0]
    assert "In 6 of 18 fits the best regularisation lies one step beyond its grid" in captions[1]


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
