"""`model ls` and `model fetch`: what can be used by a short name, and where it is found."""

import click

from microtome.jobs.cli.options import UserPath, console
from microtome.jobs.cli.tables import as_table
from microtome.jobs.models.registry import MODELS
from microtome.jobs.models.source import model_origin


@click.command("ls")
def model_ls() -> None:
    """List the short names, and where each model was found."""
    rows = [
        {"model": name, "hub": entry.hub, "found": model_origin(name), "what": entry.note}
        for name, entry in MODELS.items()
    ]
    console().print(as_table(rows))


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
