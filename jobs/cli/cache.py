"""`cache`: what the store holds."""

from collections.abc import Mapping, Sequence

import click
import pandas as pd

from microtome.jobs.cli.options import Number, console
from microtome.jobs.cli.running import print_rows
from microtome.jobs.kinds import KINDS
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import MissingError
from microtome.store.files.operations import folder_bytes

DAY = 24 * 60 * 60


@click.group("cache")
def cache_group() -> None:
    """Look at and remove what is in the store."""


@cache_group.command("ls")
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
    print_rows(pd.DataFrame(rows, columns=["id", "artifact", "MB", "made", "from"]), console())


def _made_from(artifact: Artifact, names: Mapping[str, str]) -> str:
    """The artifacts in the store that it was made from; else the model, by its label."""
    inputs = artifact.inputs
    found = [names[identity] for identity in inputs.values() if identity in names]
    if found or artifact.kind == "adapt":  # the label of an adapted model is its own name
        return ", ".join(found)
    return str(artifact.labels.get("model", ""))


@cache_group.command("show")
@click.argument("reference")
def cache_show(reference: str) -> None:
    """Print the manifest of an artifact: id, name or folder."""
    console().print_json(data=Store().open(reference).manifest)


@cache_group.command("rm")
@click.argument("references", nargs=-1, required=True)
def cache_rm(references: tuple[str, ...]) -> None:
    """Remove artifacts of the store: ids, names or folders; also damaged ones. Nothing outside is touched."""
    store = Store()
    for folder in dict.fromkeys([store.locate(reference) for reference in references]):
        store.remove(folder)
        click.echo(f"removed {folder.relative_to(store.root)}")


@cache_group.command("gc")
@click.option("--dry-run", is_flag=True, help="only say what would be removed")
@click.option(
    "--older-than",
    type=Number(0),
    default=1,
    show_default=True,
    metavar="DAYS",
    help="spare leftovers that were written to since",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME",
    help="also list the artifacts that neither this suite nor another artifact refers to; may be repeated",
)
@click.option("--unreferenced", is_flag=True, help="remove the artifacts that --suite lists")
def cache_gc(dry_run: bool, older_than: float, suites: tuple[str, ...], unreferenced: bool) -> None:
    """Remove what nothing can use: the leftovers of jobs that died, and artifacts that are damaged or half
    removed.

    A job that died goes on from its leftovers when it is run again; without them it starts anew. Name
    all your suites: what was made by hand, or with --set, belongs to none and is listed.
    """
    if unreferenced and not suites:
        raise click.UsageError("--unreferenced needs --suite NAME: every result is the last of its line")
    store = Store()
    verb = "would remove" if dry_run else "removed"
    gone: list[int] = []
    listed: list[int] = []
    for folder in store.leftovers(KINDS, older_than * DAY):
        size, damage = folder_bytes(folder), store.damage(folder)
        if dry_run or store.discard(folder):
            gone.append(size)
            said = f" (damaged: {damage})" if damage else ""
            click.echo(f"{verb} {folder.relative_to(store.root)}{said}, {size / 1e6:.2f} MB")
    for artifact in _unreferenced(store, suites) if suites else ():
        size = artifact.bytes()
        (gone if unreferenced else listed).append(size)
        if unreferenced and not dry_run:
            store.remove(artifact)
        click.echo(f"{verb if unreferenced else 'unreferenced'} {artifact.name}, {size / 1e6:.2f} MB")
    click.echo(f"{verb} {len(gone)} folders, {sum(gone) / 1e6:.2f} MB")
    if listed:
        click.echo(f"kept {len(listed)} unreferenced artifacts, {sum(listed) / 1e6:.2f} MB")


def _unreferenced(store: Store, suites: Sequence[str]) -> list[Artifact]:
    """Artifacts that are no job of these suites and that no other artifact was made from."""
    artifacts = store.list()
    used = {identity for artifact in artifacts for identity in artifact.inputs.values()}
    for suite in suites:
        plan = make_plan(load_suite(suite), store)
        if plan.unidentified:
            raise MissingError(
                f"cannot tell what belongs to suite '{suite}': {plan.unidentified[0]} was never on this "
                f"machine. See: microtome suite plan {suite}"
            )
        used |= {job.id for job in plan.jobs}
    return [artifact for artifact in artifacts if artifact.id not in used]
