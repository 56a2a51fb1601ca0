"""An artifact: what is asked for, and what is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from microtome.store.artifacts.contents import Contents
from microtome.store.artifacts.format import check_format
from microtome.store.artifacts.manifest import MANIFEST, read_manifest
from microtome.store.errors import DamagedError, MissingError, StoreError
from microtome.store.files.names import folder_name
from microtome.store.files.paths import place, shown
from microtome.store.identity import SHORT, artifact_id
from microtome.store.remote.remote import remote_files


@dataclass(frozen=True)
class Request:
    """What is asked for. `config` and `inputs` identify it: `config` are the settings that are not at their
    default, `inputs` maps a role to the id that plays it. `settings` are all of them, defaults included, for
    people to read; `slug` and `labels` only name things.

    What is `private` is made of data under an agreement, and nobody but its owner may read it.
    """

    kind: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    slug: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    private: bool = False
    settings: Mapping[str, Any] | None = None  # those of `config` if unset

    @cached_property
    def id(self) -> str:
        return artifact_id(self.kind, self.version, self.config, self.inputs)

    @property
    def folder(self) -> str:
        return f"{folder_name(self.slug)}-{self.id[:SHORT]}"


@dataclass(frozen=True)
class Artifact:
    """A complete artifact: `path` is its folder, `manifest` what it is and what it was made from."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        return self.manifest["id"]

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.path.name}"

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that decided what is in it, defaults included; an artifact that was made before these
        were noted has them in its `config`."""
        return self.manifest.get("settings", self.manifest["config"])

    @property
    def private(self) -> bool:
        """Whether it is made of data under an agreement."""
        return self.manifest.get("private") is True

    @property
    def inputs(self) -> Mapping[str, str]:
        """What it was made from: role -> identity."""
        return self.manifest["inputs"]

    @property
    def labels(self) -> Mapping[str, Any]:
        """What its rows are called in tables: task, model, fraction and seed, as far as it has them."""
        return self.manifest["labels"]

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What its job noted; only typed descriptions, such as that of a cache, read it."""
        return self.manifest["outputs"]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """When, where and with which versions it was made."""
        return self.manifest["provenance"]

    @cached_property
    def contents(self) -> Contents:
        """Its files, to be read."""
        files = self.manifest["files"]
        return Contents(self.path, self.name, self.id, files, remote_files(self.path, files))

    @property
    def whole(self) -> bool:
        """Whether all files are there, with their sizes; what is in them is not looked at."""
        try:
            self.contents.check_sizes()
        except StoreError:
            return False
        return True

    def bytes(self) -> int:
        """Size of all files in bytes, as its manifest says."""
        files = self.manifest["files"].values()
        return sum(file["bytes"] for file in files) + (self.path / MANIFEST).stat().st_size


def read_artifact(folder: str | Path) -> Artifact:
    """The artifact in a folder, in a store or not; MissingError if there is none, StoreError if the manifest
    is not one of ours or not that of this folder."""
    path = place(folder)
    check_format(path.absolute().parent.parent)  # of the store that it lies in, if it lies in one
    try:
        manifest = read_manifest(path.resolve())
    except DamagedError as error:
        raise StoreError(f"{path} is no artifact: {error}. See: microtome cache ls") from None
    except (OSError, RuntimeError, ValueError):  # no name of a file, or links in a circle
        manifest = None
    if manifest is None:
        raise MissingError(f"no artifact in {shown(path)}. See: microtome cache ls")
    return Artifact(path, manifest)
