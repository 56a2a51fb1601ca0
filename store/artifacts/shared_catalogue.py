"""The artifacts of a local store and, if it works for a remote one, those that are there.

What is in the local folder is read from it; what is only remote has a folder among the local copies, with its
manifest, into which files come when they are read.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from microtome.store.artifacts.artifact import Artifact, Request
from microtome.store.artifacts.catalogue import FOLDER, ID_DIGITS, Catalogue
from microtome.store.errors import InputError, MissingError
from microtome.store.files.paths import place_from, shown
from microtome.store.identity import SHORT
from microtome.store.remote.addresses import checked_address, is_address, scratch_root
from microtome.store.remote.remote import Remote, objects_at

KIND = re.compile(r"[a-z][a-z0-9_-]*")


class SharedCatalogue(Catalogue):
    """As a Catalogue; `remote` is where its artifacts end up, or None."""

    def __init__(self, root: Path, remote: Remote | None = None) -> None:
        super().__init__(root)
        self.remote = remote
        self._copies = None if remote is None else Catalogue(remote.copies.folder)

    @property
    def reference(self) -> str | Path:
        """What another process, maybe on another machine, opens this store by."""
        return self.root if self.remote is None else self.remote.address

    def find(self, request: Request) -> Artifact | None:
        local = super().find(request)
        if local is not None or self.remote is None:
            return local
        return self._find_remote(request)

    def find_all(self, requests: Iterable[Request]) -> dict[str, Artifact]:
        """Of a store with a remote, only what is there: what is here alone, its job still has to send."""
        wanted = list(requests)
        local = super().find_all(wanted)
        if self.remote is None or self._copies is None:
            return local
        names = self.remote.names(again=True)
        present = {
            id: artifact for id, artifact in local.items() if artifact.name in names and artifact.whole
        }
        self._copy_manifests(request for request in wanted if request.id not in present)
        return self._copies.find_all(wanted) | present

    def open(self, reference: str | Path) -> Artifact:
        if self.remote is None or self._copies is None:
            return super().open(reference)
        try:
            return super().open(reference)
        except MissingError:
            digits = str(reference)[:SHORT] if ID_DIGITS.fullmatch(str(reference)) else None
            kind, _, name = str(reference).rpartition("/")
            self.remote.manifests(
                there
                for there in self.remote.names(again=True)
                if (digits and there.endswith(f"-{digits}"))
                or (there.rpartition("/")[2] == name and kind in ("", there.partition("/")[0]))
            )
        try:
            return self._copies.open(reference)
        except MissingError:
            raise MissingError(
                f"no artifact '{shown(reference)}' in {self.remote.address}. See: microtome cache ls"
            ) from None

    def list(self, kind: str | None = None) -> list[Artifact]:
        local = super().list(kind)
        if self.remote is None or self._copies is None:
            return local
        names = [name for name in self.remote.names(again=True) if kind in (None, name.partition("/")[0])]
        self.remote.manifests(names)
        here = {artifact.name for artifact in local}
        remote = [artifact for artifact in self._copies.list(kind) if artifact.name in {*names} - here]
        return sorted([*local, *remote], key=lambda artifact: (artifact.kind, artifact.path.name))

    def locate(self, reference: str | Path) -> Path:
        if self.remote is None:
            return super().locate(reference)
        try:
            return super().locate(reference)
        except MissingError:
            return self.open(reference).path

    def own_copy(self, folder: Path) -> Path | None:
        """The folder of a remote artifact among the local copies; None for any other folder."""
        return (
            None
            if self._copies is None or not _is_below(folder, self._copies.root)
            else self._copies.own(folder)
        )

    def sent(self, artifact: Artifact) -> bool:
        """Whether an artifact is where artifacts of this store end up."""
        return self.remote is None or self.remote.has(artifact.name)

    def _find_remote(self, request: Request) -> Artifact | None:
        assert self.remote is not None
        assert self._copies is not None
        name = f"{request.kind}/{request.folder}"
        if self.remote.has(name):
            self.remote.manifests([name])
            return self._copies.find(request)
        self._copy_manifests([request])  # it may be called otherwise there
        other = self._copies.find(request)
        return other if other is not None and self.remote.has(other.name) else None

    def _copy_manifests(self, requests: Iterable[Request]) -> None:
        assert self.remote is not None
        endings = {(request.kind, request.id[:SHORT]) for request in requests}
        self.remote.manifests(
            name for name in self.remote.names() if (name.partition("/")[0], name[-SHORT:]) in endings
        )


def _is_below(folder: Path, root: Path) -> bool:
    return folder.resolve().is_relative_to(root.resolve())


def remote_at(address: str) -> Remote:
    """The remote store at an address, with its local folder."""
    checked = checked_address(address)
    return Remote(objects_at(checked), scratch_root(checked))


def split_reference(written: str) -> tuple[str, str]:
    """`s3://bucket/prefix/extract/name` or `s3://bucket/prefix/id` as the store's address and the artifact's
    reference in it; InputError if no artifact is named."""
    address, _, name = checked_address(written).rpartition("/")
    if FOLDER.fullmatch(name) and KIND.fullmatch(address.rpartition("/")[2]):
        address, _, kind = address.rpartition("/")
        name = f"{kind}/{name}"
    elif not (FOLDER.fullmatch(name) or ID_DIGITS.fullmatch(name)):
        raise InputError(f"{written} names no artifact; write {written.rstrip('/')}/ID")
    return checked_address(address), name


def default_reference() -> str | Path:
    """`MICROTOME_STORE`, a folder or an address, or `artifacts` in the working directory."""
    written = os.environ.get("MICROTOME_STORE", "")
    return written if is_address(written) else place_from("MICROTOME_STORE") or Path("artifacts")
