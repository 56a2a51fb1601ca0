"""`cache ls`, `cache show` and `cache rm`: what the store holds."""

from collections.abc import Mapping

import click

from microtome.jobs.cli.options import console
from microtome.jobs.cli.tables import print_rows
from microtome.jobs.kinds import KINDS
from microtome.store.artifacts.store import Artifact, Store


@click.command("ls")
@click.option("--kind", type=click.Choice(list(KINDS)), help="only artifacts of this kind")
def cache_ls(kind: str | None) -> None:
    """List the artifacts with their sizes and what they were made from."""
    artifacts = Store().list()
    names = {artifact.id: artifact.path.name for artifact in artifacts}
    rows = [
        {
            "id": a.id[:8],
            "artifact": a.name,
            "MB": a.bytes() / 1e6,
            "made": a.provenance["made"],
            "from": _made_from(a, names),
        }
        for a in artifacts
        if kind in (None, a.kind)
    ]
    print_rows(rows, console(), ["id", "artifact", "MB", "made", "from"])


def _made_from(artifact: Artifact, names: Mapping[str, str]) -> str:
    """The artifacts in the store that it was made from; else the model, by its label."""
    inputs = artifact.inputs
    sources = [names[identity] for identity in inputs.values() if identity in names]
    if sources or artifact.kind == "adapt":  # the label of an adapted model is its own name
        return ", ".join(sources)
    return str(artifact.labels.get("model", ""))


@click.command("show")
@click.argument("reference")
def cache_show(reference: str) -> None:
    """Print the manifest of an artifact: id, name or folder."""
    console().print_json(data=Store().open(reference).manifest)


@click.command("rm")
@click.argument("references", nargs=-1, required=True)
def cache_rm(references: tuple[str, ...]) -> None:
    """Remove artifacts of the store: ids, names or folders; also damaged ones. Nothing outside is touched."""
    store = Store()
    for folder in dict.fromkeys([store.locate(reference) for reference in references]):
        store.remove(folder)
        click.echo(f"removed {folder.relative_to(store.root)}")
