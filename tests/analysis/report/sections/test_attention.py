"""The attention section on rows built by hand."""

import csv
import re
from itertools import product

import pytest

from microtome.analysis.report.sections.attention import attention_section
from microtome.analysis.report.sections.attention_basis import basis_sentences


def change_rows(fractions, models=("one", "two")):
    return [
        {
            **{"kind": "attention", "task": "pairs", "model": model, "fraction": fraction, "seed": 1},
            **{"layer": layer, "head": head, "metric": metric},
            "value": 0.1 + layer / 10 + head / 20 + fraction / 1000,
        }
        for model, fraction, layer, head in product(models, fractions, range(2), range(2))
        for metric in ("jensen_shannon", "jensen_shannon_std", "cosine", "l1")
    ]


def pattern_rows(fractions=(30, 100)):
    return [
        {
            **{"kind": "attention", "task": "pairs", "model": "one", "fraction": fraction, "seed": seed},
            **{"layer": layer, "head": head, "metric": metric, "stage": stage},
            "value": 0.5 + (fraction / 1000 + seed / 100 if stage == "after" else 0) + head / 10,
        }
        for fraction, seed, layer, head in product(fractions, (1, 2), range(2), range(2))
        for metric in ("entropy", "to_previous", "entropy_std")
        for stage in ("before", "after")
    ]


def test_all_measures_of_change_are_drawn_and_the_first_is_open(results):
    section = attention_section(results(change_rows([100])))
    assert [(figure.title, figure.folded) for figure in section.figures] == [
        ("Attention change: Jensen–Shannon divergence", False),
        ("Attention change: cosine similarity", True),
        ("Attention change: L1 distance", True),
    ]
    assert section.figures[0].steps == []


def test_captions_say_what_is_measured_from_parts_of_the_maps(results):
    rows = [row | {"basis": "16 rows"} for row in change_rows([100], models=["one"])]
    rows += [row | {"basis": "patterns"} for row in pattern_rows(fractions=[100])]
    captions = [figure.caption for figure in attention_section(results(rows)).figures]
    assert all(caption.endswith("an estimate from 16 rows of each map.") for caption in captions[:3])
    assert all("patterns were computed with the model" in caption for caption in captions[3:])


def test_a_basis_of_some_models_is_said_to_be_that(results):
    rows = change_rows([100])
    assert basis_sentences(results(rows).rows, ["cosine"]) == ""
    for row in rows:
        row["basis"] = "top 64, 8 rows" if row["model"] == "two" else None
    assert basis_sentences(results(rows).rows, ["cosine"]) == (
        " Of each row of attention the 64 largest weights were kept; the rest of it counts as spread evenly. "
        "Maps were not kept: each value is an estimate from 8 rows of each map. "
        "This holds of some of the models."
    )


def test_of_many_fractions_the_reader_may_choose_one_and_sees_all_at_first(results, written, tmp_path):
    rows = change_rows([10, 30, 100])
    figure = attention_section(results(rows)).figures[0]
    assert figure.steps == ["10 %", "30 %", "100 %"]
    assert [picture.ident.rpartition("-")[2] for picture in figure.pictures] == ["10", "30", "100"]


def test_choosing_needs_no_script(written, tmp_path):
    from microtome.store.frames import tidy

    page = written(tidy(change_rows([10, 30, 100])), tmp_path)
    assert "<script" not in page
    assert len(re.findall(r'<input type="radio" name="steps-1"', page)) == 4
    assert page.count('value="all" checked') == 3
    assert page.count('class="drawing step step-2"') == 3
    assert 'input[value="3"]:checked) .step:not(.step-3) { display: none; }' in page
    assert 'input[value="4"]' not in page


def test_an_adapted_model_beside_its_base_is_a_figure_of_its_own(results):
    section = attention_section(results(change_rows([0, 100], models=["adapted"])))
    first, *_, last = section.figures
    assert last.title == "Attention change by adaptation: Jensen–Shannon divergence"
    assert "compared with its base" in last.caption
    assert {row["fraction"] for row in csv.DictReader(first.table.csv.splitlines())} == {"100"}


def test_heads_beyond_what_two_seeds_differ_by_are_counted(results):
    def row(head, seed, stage, value):
        at = {"kind": "attention", "task": "pairs", "model": "one", "fraction": 100, "layer": 0, "head": head}
        return {**at, "seed": seed, "stage": stage, "metric": "jensen_shannon", "value": value, "n": 100}

    rows = [
        row(head, seed, None, (0.3 if head else 0.08) + seed / 100)
        for head, seed in product(range(2), (1, 2))
    ]
    single = attention_section(results(rows))
    assert "no head is called changed" in single.lead
    assert not single.tables
    rows += [row(head, 1, "between seeds", 0.1) for head in range(2)]
    section = attention_section(results(rows))
    (counts,) = csv.DictReader(section.tables[0].csv.splitlines())
    assert (counts["heads"], counts["changed"], counts["floor"]) == ("2", "1", "0.1")
    assert [line["changed"] for line in csv.DictReader(section.more[0].csv.splitlines())] == ["no", "yes"]
    assert "The floor of change" in section.lead


def test_patterns_show_before_and_after_and_the_difference_folded(results):
    lines, maps = attention_section(results(pattern_rows())).figures
    assert not lines.folded
    assert maps.folded
    assert "100 %" in lines.caption
    svg = lines.pictures[0].svg
    assert all(name in svg for name in ("entropy", "to previous", "before fine-tuning"))
    row = next(csv.DictReader(lines.table.csv.splitlines()))
    assert (row["metric"], row["before"], row["30 %"], row["100 %"]) == ("entropy", "0.55", "0.595", "0.665")
    assert float(row["100 % deviation"]) == pytest.approx(0.01 / 2**0.5, rel=1e-4)
    head = next(csv.DictReader(maps.table.csv.splitlines()))
    assert float(head["head 1"]) == pytest.approx(0.115)


def test_patterns_of_one_stage_alone_are_not_drawn(results):
    assert attention_section(results([row for row in pattern_rows() if row["stage"] == "before"])) is None
