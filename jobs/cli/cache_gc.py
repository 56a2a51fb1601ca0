"""`cache gc`: what nothing can use, or no suite refers to."""

from collections.abc import Sequence

import click

from microtome.jobs.cli.options import Number
from microtome.jobs.kinds import KINDS
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import MissingError
from microtome.store.files.operations import folder_bytes

DAY = 24 * 60 * 60


@click.command("gc")
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
