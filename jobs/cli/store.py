"""`store`: whether what it holds is what was written."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from microtome.jobs.cli.analyses import named_cache
from microtome.jobs.cli.options import Number
from microtome.jobs.cli.remote import REMOTE_COMMANDS
from microtome.jobs.kinds import KINDS
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.artifacts.verify import check, check_store
from microtome.store.errors import InputError, StoreError, model_packages


@click.group("store")
def store_group() -> None:
    """Check the store as a whole, send it to object storage, fetch from there."""


for _command in REMOTE_COMMANDS:
    store_group.add_command(_command)


@store_group.command("verify")
@click.argument("references", nargs=-1)
@click.option(
    "--recompute",
    "share",
    type=Number(0, 1, min_open=True),
    metavar="SHARE",
    help="also run this share of the examples of caches, at least one, through the model again; e.g. 0.01",
)
@click.option("--seed", default=0, show_default=True, help="of the sample that is recomputed")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="REFERENCE",
    help="where a checkpoint is that cannot be found by itself; may be repeated",
)
def store_verify(
    references: tuple[str, ...], share: float | None, seed: int, models: tuple[str, ...]
) -> None:
    """Compare every file of artifacts with its checksum; the whole store if no artifact is named.

    What is missing, has changed or does not belong there is printed, one line each, with what to do about it.

    With --recompute, a sample of each cache's examples is computed again and compared with what is
    stored. This loads the model; its weights must be those that the cache was made with.
    """
    if models and share is None:
        raise click.UsageError("--model goes with --recompute SHARE")
    store = Store()
    if references:
        opened = named_cache if share is not None else lambda reference, store: store.open(reference)
        artifacts = [opened(reference, store) for reference in references]
        findings = [finding for artifact in artifacts for finding in check(artifact)]
    else:
        artifacts, findings = check_store(store, KINDS)
    for finding in findings:
        click.echo(finding)
    if findings:
        raise StoreError(f"{len(findings)} findings in {store.root}; each line says what to do")
    click.echo(f"{len(artifacts)} artifacts are as they were written")
    if share is not None:
        _recompute([a for a in artifacts if a.kind == "extract"], store, share, seed, models)


def _recompute(
    artifacts: Sequence[Artifact], store: Store, share: float, seed: int, models: Sequence[str]
) -> None:
    with model_packages("--recompute"):
        from microtome.jobs.recompute import checkpoint_of, recompute
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
