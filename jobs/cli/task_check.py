"""`task check`: what the data of a task are."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from microtome.jobs.cli.options import console, format_option
from microtome.jobs.cli.tables import as_table, without_empty_columns
from microtome.jobs.data.encoding import Encoder
from microtome.jobs.models.source import find_model
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.check import check
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Store


@click.command("check")
@click.argument("name")
@click.option("--model", help="count the tokens of this model too, and what max_length cuts off")
@click.option("--max-length", type=click.IntRange(8), help="instead of the task's own")
@format_option("of what is printed")
def task_check(name: str, model: str | None, max_length: int | None, form: str) -> None:
    """Read all splits of a task NAME or file: counts, labels, lengths, and rows that are not held out."""
    task = load_task(name)
    encoder = None
    if model is not None:
        from microtome.jobs.models.loading import load_tokenizer

        source = find_model(model, Store())
        tokenizer = load_tokenizer(source.description(Store()), source.name)
        encoder = Encoder(tokenizer, max_length=max_length or task.recipe.max_length)
    splits = check(find_data(task), encoder)
    if form == "json":
        click.echo(
            json.dumps({"task": task.name, "splits": splits}, indent=1, ensure_ascii=False, allow_nan=False)
        )
        return
    out = console()
    counts = [{k: v for k, v in split.items() if k not in ("labels", "file")} for split in splits]
    out.print(as_table(without_empty_columns(counts)))
    out.print()
    out.print(as_table(_label_counts(splits)))
    if splits[-1]["also_in_train_share"] > task.max_overlap:
        share = f"{splits[-1]['also_in_train_share']:.1%} of the test texts are training texts"
        out.print(f"\n{share}: more than max_overlap, {task.max_overlap:.1%}; fine-tuning refuses this task")
    out.print()
    out.print(as_table([{"split": s["split"], "file": s["file"]} for s in splits]))


def _label_counts(splits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per label, one column per split."""
    labels = dict.fromkeys(label for split in splits for label in split["labels"])
    return [
        {"label": label, **{split["split"]: split["labels"].get(label) for split in splits}}
        for label in labels
    ]
