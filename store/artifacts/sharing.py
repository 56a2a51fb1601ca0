"""Artifacts from a local store to a remote one and back. Each step may be killed, and run again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microtome.store.artifacts.artifact import Artifact, Request
from microtome.store.artifacts.catalogue import Catalogue
from microtome.store.artifacts.manifest import MANIFEST
from microtome.store.artifacts.store import Store
from microtome.store.errors import StoreError
from microtome.store.files.checksums import FileRecord
from microtome.store.files.operations import flush
from microtome.store.files.permissions import settle
from microtome.store.files.removal import remove
from microtome.store.identity import SHORT
from microtome.store.remote.remote import Remote
from microtome.store.remote.transfer import Say, is_here, records


@dataclass(frozen=True)
class Shared:
    """What is where: artifacts that are only here, only there, and in both places."""

    here: tuple[Artifact, ...]
    there: tuple[Artifact, ...]
    both: tuple[Artifact, ...]


def compare(local: Catalogue, remote: Remote) -> Shared:
    """What a local store and a remote one have; an artifact is the same by its id."""
    names = remote.names(again=True)
    remote.manifests(names)
    copies = [a for a in Catalogue(remote.copies.folder).list() if a.name in names]
    here = {artifact.id: artifact for artifact in Catalogue(local.root).list()}
    there = {artifact.id: artifact for artifact in copies}
    return Shared(
        tuple(artifact for id, artifact in here.items() if id not in there),
        tuple(artifact for id, artifact in there.items() if id not in here),
        tuple(artifact for id, artifact in here.items() if id in there),
    )


def push(artifact: Artifact, remote: Remote, say: Say) -> bool:
    """Send an artifact; False if it is there already. StoreError, and nothing is there, if it is damaged."""
    for file, reason in artifact.contents.faults():
        raise artifact.contents.error(file, reason)
    return remote.send(artifact.name, artifact.path, artifact.manifest["files"], say)


def pull(artifact: Artifact, store: Store, remote: Remote, say: Say) -> None:
    """Read a remote artifact into a local store: whole, or it does not appear there."""
    files: dict[str, FileRecord] = artifact.manifest["files"]
    with store.adopt(_request(artifact)) as folder:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() or p.is_symlink()):
            if path.relative_to(folder).as_posix() not in files:  # of a job, or of a pull that was killed
                remove(path, inside=folder)
        have = {
            transfer.path.relative_to(folder).as_posix()
            for transfer in records(artifact.name, folder, files)
            if is_here(transfer)
        }
        say(sum(files[file]["bytes"] for file in have))
        remote.receive(artifact.name, folder, {f: r for f, r in files.items() if f not in have}, say)
        (folder / MANIFEST).write_bytes((artifact.path / MANIFEST).read_bytes())
        settle(folder, folder / MANIFEST, private=artifact.private)
        flush(folder)


def chosen(artifacts: Sequence[Artifact], references: Sequence[str], where: object) -> list[Artifact]:
    """Those that references name, or all if there is none; StoreError for one that names nothing."""
    if not references:
        return list(artifacts)
    picked = []
    for reference in references:
        matches = [a for a in artifacts if _is_named(a, reference)]
        if not matches:
            raise StoreError(f"no artifact '{reference}' in {where}. See: microtome store status")
        picked += matches
    return list({artifact.id: artifact for artifact in picked}.values())


def _is_named(artifact: Artifact, reference: str) -> bool:
    by_id = len(reference) >= SHORT and artifact.id.startswith(reference)
    return by_id or reference in (artifact.name, artifact.path.name)


def _request(artifact: Artifact) -> Request:
    manifest = artifact.manifest
    return Request(
        artifact.kind,
        manifest["version"],
        manifest["config"],
        artifact.inputs,
        Path(artifact.path.name).name[: -SHORT - 1],
        artifact.labels,
        private=artifact.private,
    )
