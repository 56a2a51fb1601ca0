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

# What `check` counts with an encoder, and how the table calls it.
OF_TOKENS = {
    "tokens": "tokens",
    "tokens_median": "median",
    "tokens_longest": "longest",
    "truncated_examples": "texts cut",
    "truncated_words": "words lost",
    "truncated_share": "share",
    "truncated_entities": "entities lost",
    "truncated_entity_share": "share of entities",
}


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
    counts = [
        {k: v for k, v in s.items() if k not in ("labels", "file") and k not in OF_TOKENS} for s in splits
    ]
    out.print(as_table(without_empty_columns(counts)))
    if encoder is not None:
        out.print()
        out.print(as_table([_of_tokens(split) for split in splits]))
        out.print(
            f"\nlost: beyond max_length {encoder.max_length}, never seen by the model, counted as missed"
        )
    out.print()
    out.print(as_table(_label_counts(splits)))
    if splits[-1]["also_in_train_share"] > task.max_overlap:
        share = f"{splits[-1]['also_in_train_share']:.1%} of the test texts are training texts"
        out.print(f"\n{share}: more than max_overlap, {task.max_overlap:.1%}; fine-tuning refuses this task")
    out.print()
    out.print(as_table([{"split": s["split"], "file": s["file"]} for s in splits]))


def _of_tokens(split: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of a split, and what is cut off of it."""
    counts = {title: split[name] for name, title in OF_TOKENS.items() if name in split}
    shares = {
        title: f"{value:.1%}" if title.startswith("share") else value for title, value in counts.items()
    }
    return {"split": split["split"], **shares}


def _label_counts(splits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per label, one column per split."""
    labels = dict.fromkeys(label for split in splits for label in split["labels"])
    return [
        {"label": label, **{split["split"]: split["labels"].get(label) for split in splits}}
        for label in labels
    ]
