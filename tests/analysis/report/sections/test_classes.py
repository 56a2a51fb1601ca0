"""Scores by class, and published scores, on rows built by hand."""

import csv

from microtome.analysis.report.sections.classes import classes_section, published_section

AT = {"kind": "finetune", "task": "reasons", "split": "test"}


def class_rows(model, fraction, seed, label, f1):
    at = {**AT, "model": model, "fraction": fraction, "seed": seed, "label": label}
    values = {"class_precision": f1 + 0.1, "class_recall": f1 - 0.1, "class_f1": f1, "class_support": 7}
    return [{**at, "metric": metric, "value": value} for metric, value in values.items()]


def test_models_stand_side_by_side_at_the_largest_fraction(results):
    rows = [
        row
        for model, better in (("base", 0.0), ("adapted", 0.2))
        for fraction in (30, 100)
        for seed in (1, 2)
        for label, f1 in (("safety", 0.3), ("money", 0.4))
        for row in class_rows(model, fraction, seed, label, f1 + better + fraction / 1000 + seed / 100)
    ]
    section = classes_section(results(rows))
    (table,) = section.tables
    assert table.title == "reasons, by class"
    assert table.groups == (("", 2), ("base", 3), ("adapted", 3))
    assert table.columns == ["class", "support", *(["precision", "recall", "F1"] * 2)]
    first, second = csv.DictReader(table.csv.splitlines())
    assert (first["class"], first["support"], first["base class_f1"]) == ("safety", "7", "0.415")
    assert (second["class"], second["adapted class_f1"]) == ("money", "0.715")
    assert table.cells[0][4].note == "± .007"
    assert "100 %" in section.lead


def test_no_classes_no_section(results):
    rows = [{**AT, "model": "m", "fraction": 100, "seed": 1, "metric": "micro_f1", "value": 0.5}]
    assert classes_section(results(rows)) is None
    assert published_section(results(rows)) is None


def test_published_scores_name_their_source_and_how_the_setting_differs(results):
    at = {**AT, "metric": "micro_f1", "seed": 1, "value": 0.7, "low": 0.6, "high": 0.8, "published": 0.75}
    rows = [
        {**at, "model": "biobert", "fraction": 100, "published_model": "biobert", "source": "A et al. 2020"},
        {**at, "model": "biobert", "fraction": 30, "published_model": "biobert", "source": "A et al. 2020"},
        {**at, "model": "other", "fraction": 100, "published_model": "biobert", "source": "A et al. 2020"},
    ]
    section = published_section(results(rows))
    assert "not the same setting" in section.lead
    mine, other = csv.DictReader(section.tables[0].csv.splitlines())
    assert (mine["ours"], mine["ours low"], mine["published"]) == ("0.7", "0.6", "0.75")
    assert mine["setting"] == "model of the same name"
    assert other["setting"] == "another model"
    assert (other["published model"], other["source"]) == ("biobert", "A et al. 2020")
