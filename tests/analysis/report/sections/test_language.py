"""Adaptation, generated text and answers on rows built by hand."""

import csv

from microtome.analysis.report.sections.language import (
    adaptation_section,
    answers_section,
    generation_section,
)


def adapt_rows(model, losses):
    """Scores before, at each epoch and after; `losses` has one per epoch, the first before training."""
    stages = ["before", *["during"] * (len(losses) - 2), "after"]
    return [
        {
            **{"kind": "adapt", "model": model, "split": "heldout", "stage": stage, "epoch": epoch},
            **{"metric": metric, "value": value},
        }
        for epoch, (stage, loss) in enumerate(zip(stages, losses, strict=True))
        for metric, value in (("loss", loss), ("perplexity", 10.0**loss), ("token_accuracy", 1 - loss / 10))
    ]


def records(table):
    return list(csv.DictReader(table.csv.splitlines()))


def test_before_and_after_stand_in_the_table_and_epochs_in_the_figure(results):
    section = adaptation_section(
        results([*adapt_rows("a", [4, 3, 2.5, 2]), *adapt_rows("b", [3, 2, 1, 0.5])])
    )
    first = records(section.tables[0])[0]
    assert first == {"model": "a", "metric": "loss", "before": "4", "after": "2", "change": "-2"}
    (figure,) = section.figures
    epochs = records(figure.table)
    assert [(row["model"], row["epoch"], row["loss"]) for row in epochs[:4]] == [
        *(("a", "0", "4"), ("a", "1", "3"), ("a", "2", "2.5"), ("a", "3", "2"))
    ]
    svg = figure.pictures[0].svg
    assert all(name in svg for name in ("token accuracy", "perplexity", "epoch", "10000"))
    assert "mathdefault" not in svg


def test_without_scores_on_the_way_there_is_no_curve(results):
    section = adaptation_section(results(adapt_rows("a", [4, 2])))
    assert section.figures == []
    assert len(section.tables) == 1


def test_generated_text_has_its_statistics(results):
    at = {"kind": "generate", "model": "gpt2"}
    rows = [
        {**at, "metric": "generated_tokens", "value": 40.5, "n": 12},
        {**at, "metric": "distinct_2", "value": 0.8, "n": 400},
    ]
    (row,) = records(generation_section(results(rows)).tables[0])
    assert row == {"model": "gpt2", "n": "12", "generated tokens": "40.5", "distinct bigrams": "0.8"}


def test_answers_stand_beside_the_majority_and_by_class(results):
    at = {"kind": "answer", "task": "pubmedqa", "model": "gpt2", "split": "test", "n": 500}
    rows = [{**at, "metric": m, "value": v} for m, v in (("accuracy", 0.6), ("majority_accuracy", 0.55))]
    rows += [
        {**at, "label": "yes", "metric": f"class_{m}", "value": 0.5} for m in ("precision", "f1", "support")
    ]
    section = answers_section(results(rows))
    (row,) = records(section.tables[0])
    assert (row["n"], row["accuracy"], row["majority accuracy"]) == ("500", "0.6", "0.55")
    assert [table.title for table in section.more] == ["pubmedqa, answers by class"]


def test_nothing_of_the_kind_no_section(results):
    rows = [{"kind": "finetune", "metric": "accuracy", "value": 0.5}]
    for make in (adaptation_section, generation_section, answers_section):
        assert make(results(rows)) is None
