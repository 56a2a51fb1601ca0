"""Confusion matrices of fine-tuned models and of probes."""

import csv
from typing import Any

import numpy as np
import pandas as pd

from microtome.analysis.report.sections.classes import classes_section
from microtome.analysis.report.sections.confusion import confusion_figure, shares_of_gold
from microtome.analysis.report.sections.probing import probing_section

CELLS = {("no", "no"): 6, ("no", "yes"): 2, ("yes", "yes"): 4}


def rows(kind: str, **more: Any) -> list[dict[str, Any]]:
    """Counts of two seeds at two fractions; those of the smaller one are ten times as high."""
    at = {"kind": kind, "task": "pairs", "model": "one", "split": "test"}
    found = [
        {**at, **more, "fraction": fraction, "seed": seed, "metric": "confusion", "label": gold}
        | {"predicted_label": predicted, "value": count * (10 if fraction == 30 else 1), "n": 8}
        for fraction in (30, 100)
        for seed in (1, 2)
        for (gold, predicted), count in CELLS.items()
    ]
    scores = {"class_precision": 0.5, "class_recall": 0.75, "class_f1": 0.6, "class_support": 8}
    classes = [
        {**at, **more, "fraction": 100, "seed": 1, "label": "no", "metric": metric, "value": value}
        for metric, value in scores.items()
    ]
    return [*found, *classes]


def test_counts_are_those_of_all_seeds_with_the_most_training_data(results):
    figure = confusion_figure(results(rows("finetune")), "finetune")
    table = list(csv.DictReader(figure.table.csv.splitlines()))
    counts = {row["gold class"]: (float(row["as no"]), float(row["as yes"])) for row in table}
    assert counts == {"no": (12, 4), "yes": (0, 8)}
    assert ".75" in figure.pictures[0].svg
    assert "100 % of the training data" in " ".join(figure.caption.split())


def test_each_gold_class_sums_to_one_and_one_without_examples_is_empty():
    counts = pd.DataFrame([(*pair, value) for pair, value in CELLS.items()])
    counts.columns = pd.Index(["label", "predicted_label", "value"])
    shares = shares_of_gold(counts, ("no", "yes", "maybe"))
    np.testing.assert_allclose(shares[:2], [[0.75, 0.25, 0], [0, 1, 0]])
    assert np.isnan(shares[2]).all()


def test_fine_tuning_and_probes_each_show_theirs(results):
    probed = [{**row, "layer": 2} for row in rows("probe", probe="linear")]
    scored = {"kind": "probe", "probe": "linear", "task": "pairs", "model": "one", "split": "test"}
    scored |= {"metric": "accuracy", "layer": 2, "fraction": 100, "seed": 1, "value": 0.8}
    given = results([*rows("finetune"), *probed, scored])
    assert [figure.folded for figure in classes_section(given).figures] == [False]
    section = probing_section(given)
    assert section.figures[-1].title == "Which class is taken for which: linear probe"
    (table,) = [table for table in section.more if table.ident == "table-probe-classes-0"]
    assert table.cells[0][0].text == "no"
    assert [cell.text for cell in table.cells[0][1:]] == ["8", "0.500", "0.750", "0.600"]


def test_without_counts_there_is_no_figure(results):
    assert confusion_figure(results([{**rows("finetune")[-1]}]), "finetune") is None
