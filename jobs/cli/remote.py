"""`store push`, `pull`, `sync` and `status`: artifacts between a folder and object storage."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from microtome.jobs.cli.options import console
from microtome.store.artifacts.artifact import Artifact
from microtome.store.artifacts.shared_catalogue import remote_at
from microtome.store.artifacts.sharing import chosen, compare, pull, push
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError
from microtome.store.remote.addresses import is_address
from microtome.store.remote.remote import Remote
from microtome.store.remote.transfer import Say

REMOTE = click.option(
    "--remote",
    metavar="ADDRESS",
    help="s3://BUCKET/PREFIX, or with gs://, az:// or file://; MICROTOME_STORE where that is an address",
)
REFERENCES = click.argument("references", nargs=-1)


@click.command("push")
@REFERENCES
@REMOTE
def store_push(references: tuple[str, ...], remote: str | None) -> None:
    """Send artifacts to object storage; all that are here if none is named.

    What is there is not sent again. It may be stopped at any time: run it again, and it goes on.
    """
    local, there = _places(remote)
    shared = compare(local, there)
    artifacts = chosen([*shared.here, *shared.both], references, local.root)
    _push([artifact for artifact in artifacts if artifact in shared.here], there)


@click.command("pull")
@REFERENCES
@REMOTE
def store_pull(references: tuple[str, ...], remote: str | None) -> None:
    """Fetch artifacts from object storage into the local store; all that are there if none is named.

    Every file is compared with its checksum. It may be stopped at any time: run it again, and it goes on.
    """
    local, there = _places(remote)
    shared = compare(local, there)
    artifacts = chosen([*shared.there, *shared.both], references, there.address)
    _pull([artifact for artifact in artifacts if artifact in shared.there], local, there)


@click.command("sync")
@REMOTE
def store_sync(remote: str | None) -> None:
    """Send what is only here, and fetch what is only on object storage."""
    local, there = _places(remote)
    shared = compare(local, there)
    _push(shared.here, there)
    _pull(shared.there, local, there)


@click.command("status")
@REMOTE
def store_status(remote: str | None) -> None:
    """Show what is only here, only on object storage, and in both places."""
    local, there = _places(remote)
    shared = compare(local, there)
    for word, artifacts in (("only here", shared.here), ("only there", shared.there)):
        for artifact in artifacts:
            click.echo(f"{word:<10}  {artifact.name}  {artifact.bytes() / 1e6:.2f} MB")
    counts = f"{len(shared.here)} only here, {len(shared.there)} only there, {len(shared.both)} in both"
    click.echo(f"{counts}: {local.root} and {there.address}")


def _places(remote: str | None) -> tuple[Store, Remote]:
    """The local store, and the remote one."""
    written = os.environ.get("MICROTOME_STORE", "")
    address = remote or (written if is_address(written) else None)
    if address is None:
        raise InputError(
            "which object storage? Give --remote s3://BUCKET/PREFIX, or set MICROTOME_STORE to it"
        )
    there = remote_at(address)
    there.check()
    return Store(there.root if is_address(written) else None), there


def _push(artifacts: Sequence[Artifact], there: Remote) -> None:
    _each("sent", artifacts, lambda artifact, say: push(artifact, there, say))


def _pull(artifacts: Sequence[Artifact], local: Store, there: Remote) -> None:
    _each("fetched", artifacts, lambda artifact, say: pull(artifact, local, there, say))


def _each(verb: str, artifacts: Sequence[Artifact], work: Callable[[Artifact, Say], Any]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    size = 0
    for artifact in artifacts:
        with Progress(*columns, console=console(), transient=True) as progress:
            task = progress.add_task(artifact.name, total=artifact.bytes())
            work(artifact, lambda count, t=task, p=progress: p.advance(t, count))  # type: ignore[misc]
        size += artifact.bytes()
        click.echo(f"{verb} {artifact.name}")
    click.echo(f"{verb} {len(artifacts)} artifacts, {size / 1e6:.2f} MB")
