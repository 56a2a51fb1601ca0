"""`cache`: what the store holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pandas as pd

from jobs.cli.analyses import named_cache
from jobs.cli.options import console
from jobs.cli.running import as_table
from jobs.job import KINDS
from jobs.plan import make_plan
from jobs.suite import load_suite
from store.artifacts import Artifact, Store
from store.checksums import damaged_parts
from store.errors import InputError, MissingError, model_packages
from store.files import folder_bytes

DAY = 24 * 60 * 60


@click.group("cache")
def cache_group() -> None:
    """Look at, check and remove what is in the store."""


@cache_group.command("ls")
@click.option("--kind", help=f"only artifacts of this kind: {', '.join(KINDS)}")
def cache_ls(kind: str | None) -> None:
    """List the artifacts with their sizes and what they were made from."""
    artifacts = Store().list()
    names = {artifact.id: artifact.path.name for artifact in artifacts}
    rows = [
        {
            "id": a.id[:8],
            "artifact": a.name,
            "MB": a.bytes() / 1e6,
            "made": a.manifest["provenance"]["made"],
            "from": _made_from(a, names),
        }
        for a in artifacts
        if kind in (None, a.kind)
    ]
    console().print(as_table(pd.DataFrame(rows, columns=["id", "artifact", "MB", "made", "from"])))


def _made_from(artifact: Artifact, names: Mapping[str, str]) -> str:
    """The artifacts in the store that it was made from; else the model, by its label."""
    inputs = artifact.manifest["inputs"]
    found = [names[identity] for identity in inputs.values() if identity in names]
    if found or artifact.kind == "adapt":  # the label of an adapted model is its own name
        return ", ".join(found)
    return str(artifact.manifest["labels"].get("model", ""))


@cache_group.command("show")
@click.argument("reference")
def cache_show(reference: str) -> None:
    """Print the manifest of an artifact: id, name or folder."""
    console().print_json(data=Store().open(reference).manifest)


@cache_group.command("verify")
@click.argument("references", nargs=-1)
@click.option(
    "--recompute",
    "share",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="also run this share of the examples, at least one, through the model again; e.g. 0.01",
)
@click.option("--seed", default=0, show_default=True, help="of the sample that is recomputed")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="REFERENCE",
    help="where a checkpoint is that cannot be found by itself; may be repeated",
)
def cache_verify(
    references: tuple[str, ...], share: float | None, seed: int, models: tuple[str, ...]
) -> None:
    """Compare caches with their checksums; all caches if none is named.

    With --recompute, a sample of each cache's examples is computed again and compared with what is
    stored. This loads the model; its weights must be those that the cache was made with.
    """
    if models and share is None:
        raise click.UsageError("--model goes with --recompute SHARE")
    store = Store()
    artifacts = [named_cache(reference, store) for reference in references] or store.list("extract")
    bad = []
    for artifact in artifacts:
        bad += [f"{artifact.name}/{file}: {reason}" for file, reason in damaged_parts(artifact)]
    for line in bad:
        click.echo(line)
    if bad:
        raise InputError(f"{len(bad)} damaged files; remove their caches and extract again")
    click.echo(f"{len(artifacts)} caches are as they were written")
    if share is not None:
        _recompute(artifacts, store, share, seed, models)


def _recompute(
    artifacts: Sequence[Artifact], store: Store, share: float, seed: int, models: Sequence[str]
) -> None:
    with model_packages("--recompute"):
        from jobs.recompute import checkpoint_of, recompute
    checkpoints = [checkpoint_of(artifact, store, models) for artifact in artifacts]
    wrong = []
    with TemporaryDirectory() as scratch:
        for artifact, checkpoint in zip(artifacts, checkpoints, strict=True):
            folder = checkpoint.folder(store, Path(scratch))
            compared = recompute(artifact, folder, share=share, seed=seed)
            click.echo(f"{artifact.name}: {compared}")
            if compared.beyond:
                wrong.append(f"{artifact.name}: {compared.beyond}")
    if wrong:
        more = f" (and {len(wrong) - 1} more caches)" if len(wrong) > 1 else ""
        raise InputError(f"{wrong[0]} from what its model makes{more}; remove it and extract again")


@cache_group.command("rm")
@click.argument("references", nargs=-1, required=True)
def cache_rm(references: tuple[str, ...]) -> None:
    """Remove artifacts: ids, names or folders."""
    store = Store()
    for artifact in [store.open(reference) for reference in references]:
        store.remove(artifact)
        click.echo(f"removed {artifact.name}")


@cache_group.command("gc")
@click.option("--dry-run", is_flag=True, help="only say what would be removed")
@click.option(
    "--older-than",
    type=click.FloatRange(0),
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
    """Remove what nothing can use: the leftovers of jobs that died, and half-removed artifacts.

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
        size = folder_bytes(folder)
        if dry_run or store.discard(folder):
            gone.append(size)
            click.echo(f"{verb} {folder.relative_to(store.root)}, {size / 1e6:.2f} MB")
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
    used = {identity for artifact in artifacts for identity in artifact.manifest["inputs"].values()}
    for suite in suites:
        plan = make_plan(load_suite(suite), store)
        if plan.unknown():
            raise MissingError(
                f"cannot tell what belongs to suite '{suite}': {plan.unknown()[0]} was never on this "
                f"machine. See: microtome suite plan {suite}"
            )
        used |= {job.id for job in plan.jobs}
    return [artifact for artifact in artifacts if artifact.id not in used]
