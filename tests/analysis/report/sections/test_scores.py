"""The section of downstream scores on rows built by hand."""

import csv

import pytest

from microtome.analysis.report.sections.scores import scores_section
from microtome.analysis.report.sections.summary import summary_section

AT = {"kind": "finetune", "task": "ner", "split": "test", "metric": "entity_f1", "n": 50}


@pytest.fixture
def rows():
    """Two models, two fractions, two seeds."""
    made = []
    for model, skill in (("plain", 0.5), ("better", 0.7)):
        for fraction in (0, 100):
            value = skill if fraction else 0.1
            for seed in (1, 2):
                seeded = value + 0.01 * seed - 0.015
                bounds = {"value": seeded, "low": seeded - 0.1, "high": seeded + 0.1}
                made.append({**AT, "model": model, "fraction": fraction, "seed": seed, **bounds})
    return made


@pytest.fixture
def derived():
    """Everything that is derived from them."""
    made = []
    for model, skill in (("plain", 0.5), ("better", 0.7)):
        for fraction, value in ((0, 0.1), (100, skill)):
            at = {**AT, "model": model, "fraction": fraction}
            mean = {"quantity": "mean", "value": value, "low": value - 0.05, "high": value + 0.06}
            made.append({**at, **mean})
            if fraction:
                gain = value - 0.1
                bounds = {"value": gain, "low": gain - 0.2, "high": gain + 0.3}
                made.append({**at, "quantity": "gain", "reference_model": model, **bounds})
    pair = {**AT, "model": "better", "reference_model": "plain", "fraction": 100, "quantity": "difference"}
    return [*made, {**pair, "value": 0.2, "low": -0.05, "high": 0.35}]


def records(table):
    return list(csv.DictReader(table.csv.splitlines()))


def test_scores_are_quoted_with_the_interval_derived_over_seeds(results, rows, derived):
    section = scores_section(results(rows, derived))
    found = records(section.figures[0].table)
    assert len(found) == 4
    assert [
        found[1][name] for name in ("model", "fraction", "score", "score low", "score high", "seeds")
    ] == [*("plain", "100", "0.5", "0.45", "0.56", "2")]
    assert "95 % bootstrap intervals" in section.figures[0].caption


def test_without_derived_intervals_the_band_is_the_deviation_over_seeds(results, rows):
    section = scores_section(results(rows))
    assert "one standard deviation over seeds" in section.figures[0].caption
    assert "score deviation" in records(section.figures[0].table)[0]
    assert "score low" not in records(section.figures[0].table)[0]
    assert [table.ident for table in section.more] == ["table-all-scores"]


def test_gains_and_differences_have_tables_with_intervals(results, rows, derived):
    gains, differences, _ = scores_section(results(rows, derived)).more
    assert records(gains)[1] == {
        "task": "ner",
        "model": "better",
        "100 %": "0.6",
        "100 % low": "0.4",
        "100 % high": "0.9",
    }
    assert [cell.style for cell in gains.cells[1]] == ["", "", "sure"]
    (difference,) = records(differences)
    assert (difference["model"], difference["minus model"], difference["100 %"]) == ("better", "plain", "0.2")
    assert differences.cells[0][3].note == "−.050 to .350"
    assert differences.cells[0][3].style == ""


def test_the_summary_says_when_the_first_two_are_not_told_apart(results, rows, derived):
    section = summary_section(results(rows, derived))
    sentence = str(section.findings["ner"][0])
    assert sentence == (
        "With 100 % of the training data entity F1 is <b>0.700</b> for <b>better</b>, a tie with plain 0.500 "
        "(0.200 ahead, 95 % interval −0.050 to 0.350)."
    )
    apart = [{**row, "low": 0.1} if row["quantity"] == "difference" else row for row in derived]
    sentence = str(summary_section(results(rows, apart)).findings["ner"][0])
    assert sentence.endswith("for <b>better</b>, 0.200 ahead of plain (95 % interval 0.100 to 0.350).")
    (table,) = section.tables
    assert records(table)[0]["gain low"] == "0.2"


def test_one_fraction_is_drawn_as_dots_with_bars(results, rows, derived):
    most = [[row for row in table if row["fraction"] == 100] for table in (rows, derived)]
    section = scores_section(results(*most))
    assert section.title == "Test scores"
    assert "Bars are 95 % bootstrap intervals" in section.figures[0].caption
    assert [picture.ident for picture in section.figures[0].pictures] == ["scores"]


@pytest.mark.parametrize(
    ("p", "seeds", "style"), [(0.01, 5, "sure"), (0.2, 5, ""), (0.01, 1, "")], ids=["sure", "Holm", "one run"]
)
def test_a_difference_is_bold_only_over_several_runs_and_after_the_correction(
    results, rows, derived, p, seeds, style
):
    made = [
        row | {"low": 0.1, "p": p, "seeds": seeds} if row["quantity"] == "difference" else row
        for row in derived
    ]
    differences = scores_section(results(rows, made)).more[1]
    assert differences.cells[0][3].style == style
    assert ("one training run: its luck is not in this interval" in differences.title) == (seeds == 1)


def test_one_run_of_each_model_names_no_winner(results, rows):
    single = [row for row in rows if row.get("seed") == 1]
    (sentence, *_) = map(str, summary_section(results(single)).findings["ner"])
    assert sentence == (
        "With 100 % of the training data entity F1 is better <b>0.695</b>, plain <b>0.495</b> (one training "
        "run: its luck is in no interval, so that no model is called better)."
    )
