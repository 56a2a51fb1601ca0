"""The corpora of a study, what was cut off, and the settings of each task."""

import csv
from typing import Any

import pandas as pd

from microtome.analysis.report.sections.corpora import corpora_section
from microtome.analysis.report.tables import Table

CORPORA = pd.DataFrame(
    [{"task": "pairs", "type": "ner", "train": 90, "licence": "CC BY 4.0", "citation": "Ours, 2020"}]
)


def rows(words: float, entities: float) -> list[dict[str, Any]]:
    at = {"kind": "finetune", "task": "pairs", "model": "one", "fraction": 100, "seed": 1}
    values = {"entity_f1": 0.5, "truncated_share": words, "truncated_entity_share": entities}
    return [
        {**at, "split": split, "metric": metric, "value": value if split == "test" else 0.0, "n": n}
        for split, n in (("dev", 10), ("test", 20))
        for metric, value in values.items()
    ]


def records(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(table.csv.splitlines()))


def test_a_corpus_has_its_counts_licence_and_citation(results):
    section = corpora_section(results(rows(0, 0)), CORPORA, None)
    (table,) = section.tables
    about = {"task": "pairs", "type": "ner", "licence": "CC BY 4.0", "citation": "Ours, 2020"}
    assert records(table) == [{**about, "train": "90", "dev": "10", "test": "20"}]
    assert "Nowhere does more than 1 %" in section.lead


def test_what_was_cut_off_is_told_from_one_per_cent_on(results):
    section = corpora_section(results(rows(0.004, 0.03)), CORPORA, None)
    assert "Nowhere" not in section.lead
    (cut,) = records(section.tables[1])
    assert (cut["task"], cut["split"]) == ("pairs", "test")
    assert "0.03" in cut.values()


def test_settings_are_folded_with_where_they_were_set(results):
    settings = pd.DataFrame([{"task": "pairs", "setting": "epochs", "value": "3", "origin": "task file"}])
    section = corpora_section(results(rows(0, 0)), CORPORA, settings)
    assert records(section.more[0]) == settings.to_dict("records")
