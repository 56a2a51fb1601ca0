"""`cache`: what the store holds."""

import click
import pandas as pd

from jobs.cli.options import console
from jobs.cli.running import as_table
from store.activations import damaged_parts
from store.artifacts import Store
from store.errors import InputError


@click.group("cache")
def cache_group() -> None:
    """Look at, check and remove what is in the store."""


@cache_group.command("ls")
@click.option("--kind", help="only artifacts of this kind: adapt, finetune, extract, probe, attention")
def cache_ls(kind: str | None) -> None:
    """List the artifacts with their sizes."""
    rows = [
        {"id": a.id[:8], "artifact": a.name, "MB": a.bytes() / 1e6, "made": a.manifest["provenance"]["made"]}
        for a in Store().list(kind)
    ]
    console().print(as_table(pd.DataFrame(rows, columns=["id", "artifact", "MB", "made"])))


@cache_group.command("show")
@click.argument("reference")
def cache_show(reference: str) -> None:
    """Print the manifest of an artifact: id, name or folder."""
    console().print_json(data=Store().open(reference).manifest)


@cache_group.command("verify")
@click.argument("references", nargs=-1)
def cache_verify(references: tuple[str, ...]) -> None:
    """Compare caches with their checksums; all caches if none is named."""
    store = Store()
    artifacts = [store.open(reference) for reference in references] or store.list("extract")
    bad = []
    for artifact in artifacts:
        bad += [f"{artifact.name}/{file}: {reason}" for file, reason in damaged_parts(artifact)]
    for line in bad:
        click.echo(line)
    if bad:
        raise InputError(f"{len(bad)} damaged files; remove their caches and extract again")
    click.echo(f"{len(artifacts)} caches are as they were written")


@cache_group.command("rm")
@click.argument("references", nargs=-1, required=True)
def cache_rm(references: tuple[str, ...]) -> None:
    """Remove artifacts: ids, names or folders."""
    store = Store()
    for artifact in [store.open(reference) for reference in references]:
        store.remove(artifact)
        click.echo(f"removed {artifact.name}")
