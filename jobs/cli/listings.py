"""`task` and `model`: what can be asked for, and where it is found."""

import json

import click
import pandas as pd
from rich.text import Text

from microtome.jobs.cli.options import UserPath, console, format_option
from microtome.jobs.cli.running import as_table
from microtome.jobs.data.encoding import Encoder
from microtome.jobs.models.registry import MODELS
from microtome.jobs.models.source import find_model
from microtome.jobs.tasks import load_task, task_names
from microtome.jobs.tasks.check import check
from microtome.jobs.tasks.source import find_data, find_local
from microtome.store.artifacts.store import Store
from microtome.store.errors import MicrotomeError, model_packages


@click.group("task")
def task_group() -> None:
    """Datasets and what is asked of them."""


@task_group.command("ls")
def task_ls() -> None:
    """List the tasks, and where their data was found."""
    rows = []
    for name in task_names():
        task = load_task(name)
        rows.append(
            {
                "task": name,
                "type": task.type,
                "labels": len(task.labels),
                "credentialed": "yes" if task.credentialed else "",
                "data": _origin(name),
                "title": task.title,
            }
        )
    console().print(as_table(pd.DataFrame(rows)))


@task_group.command("show")
@click.argument("name")
def task_show(name: str) -> None:
    """Recipe, licence, published scores, and how to obtain the data of a task NAME or file."""
    task = load_task(name)
    out = console()
    out.print(Text.assemble((task.name, "bold"), f"  {task.title}\n"), soft_wrap=True)
    facts = {
        "type": task.type,
        "labels": ", ".join(task.labels),
        "licence": task.licence + (" (credentialed)" if task.credentialed else ""),
        "obtain": task.obtain,
        "data": _origin(name),
        "citation": task.citation,
        **({"remark": task.remark} if task.remark else {}),
        **{f"recipe.{key}": str(value) for key, value in task.recipe.model_dump().items()},
    }
    out.print(as_table(pd.DataFrame(facts.items(), columns=["", " "])))
    if task.published:
        out.print("\npublished")
        out.print(as_table(pd.DataFrame([p.model_dump() for p in task.published])))


@task_group.command("check")
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
    frame = pd.DataFrame([{k: v for k, v in s.items() if k not in ("labels", "file")} for s in splits])
    out.print(as_table(frame.dropna(axis="columns", how="all")))
    counts = pd.DataFrame({s["split"]: s["labels"] for s in splits}).rename_axis("label").reset_index()
    out.print()
    out.print(as_table(counts))
    if splits[-1]["also_in_train_share"] > task.max_overlap:
        share = f"{splits[-1]['also_in_train_share']:.1%} of the test texts are training texts"
        out.print(f"\n{share}: more than max_overlap, {task.max_overlap:.1%}; fine-tuning refuses this task")
    out.print()
    out.print(as_table(pd.DataFrame([{"split": s["split"], "file": s["file"]} for s in splits])))


@click.group("model")
def model_group() -> None:
    """Models by short name; any hub id or local folder works as well."""


@model_group.command("ls")
def model_ls() -> None:
    """List the short names, and where each model was found."""
    rows = []
    for name, entry in MODELS.items():
        try:
            source = find_model(name, Store())
            found = str(source.path or f"hub, commit {str(source.commit)[:8]}")
        except MicrotomeError as error:
            found = f"not here ({str(error).split('. ')[0]})"
        rows.append({"model": name, "hub": entry.hub, "found": found, "what": entry.note})
    console().print(as_table(pd.DataFrame(rows)))


@model_group.command("show")
@click.argument("reference")
@format_option("of what is printed")
def model_show(reference: str, form: str) -> None:
    """Layers, heads, width, positions and what can be kept of a model, from its config.json alone.

    REFERENCE is a short name, a hub id, a local folder or a checkpoint in the store. Sizes are those on disk
    in float16, uncompressed, of every layer.
    """
    with model_packages("microtome model show"):
        from microtome.jobs.models.description import describe

    store = Store()
    facts = {"model": reference} | describe(find_model(reference, store).description(store))
    if form == "json":
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False))
        return
    shown = [(name, f"{value:,}" if isinstance(value, int) else value) for name, value in facts.items()]
    console().print(as_table(pd.DataFrame([row for row in shown if row[1] is not None], columns=["", " "])))


@model_group.command("fetch")
@click.argument("reference")
@click.option("--out", required=True, type=UserPath(), help="folder to make")
def model_fetch(reference: str, out: str) -> None:
    """Put a model into a folder, with safetensors weights.

    REFERENCE is a short name, a hub id or a local folder. Pickled weights are read with the restricted
    unpickler of torch, tensors only, and written as safetensors. The folder can be carried to a machine
    without network: $MICROTOME_MODELS/<name>.
    """
    from microtome.jobs.models.fetch import fetch

    click.echo(f"wrote {fetch(reference, out)}")


def _origin(name: str) -> str:
    """Where a task's data is, without asking the hub."""
    task = load_task(name)
    found, _ = find_local(task)
    if found is not None:
        return found.origin
    return f"hub, {task.hub.repo}" if task.hub else "not here"
