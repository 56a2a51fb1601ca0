"""`model ls`, `model show` and `model fetch`: what can be used by a short name, and where it is found."""

import json

import click

from microtome.jobs.cli.options import UserPath, console, format_option
from microtome.jobs.cli.tables import as_table
from microtome.jobs.models.registry import MODELS
from microtome.jobs.models.source import find_model, model_origin
from microtome.store.artifacts.store import Store
from microtome.store.errors import model_packages


@click.command("ls")
def model_ls() -> None:
    """List the short names, and where each model was found."""
    rows = [
        {"model": name, "hub": entry.hub, "found": model_origin(name), "what": entry.note}
        for name, entry in MODELS.items()
    ]
    console().print(as_table(rows))


@click.command("show")
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
    console().print(as_table([{"": name, " ": value} for name, value in shown if value is not None]))


@click.command("fetch")
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
