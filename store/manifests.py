"""The manifest of an artifact, read and checked: whether a folder is one of ours."""

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import DamagedError, MissingError, StoreError
from store.files import folder_bytes
from store.fingerprint import SHORT, artifact_id
from store.places import place, shown

MANIFEST = "manifest.json"
HUGE = 64 << 20  # bytes; a cache of a terabyte has a manifest of a few megabytes
FIELDS: dict[str, type] = {
    "id": str,
    "kind": str,
    "version": int,
    "config": dict,
    "inputs": dict,
    "labels": dict,
    "outputs": dict,
    "provenance": dict,
}


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
    def private(self) -> bool:
        """Whether it is made of data under an agreement."""
        return self.manifest.get("private") is True

    def bytes(self) -> int:
        """Size of all files in bytes: as its manifest says, or where that does not say it, as they are."""
        files = self.manifest.get("files")
        if not isinstance(files, dict):
            return folder_bytes(self.path)
        return sum(file["bytes"] for file in files.values()) + (self.path / MANIFEST).stat().st_size


def read_artifact(folder: str | Path) -> Artifact:
    """The artifact in a folder, in a store or not; MissingError if there is none, StoreError if the manifest
    is not one of ours or not that of this folder."""
    path = place(folder)
    try:
        manifest = read_manifest(path.resolve())
    except DamagedError as error:
        raise StoreError(f"{path} is no artifact: {error}. See: microtome cache ls") from None
    except (OSError, RuntimeError, ValueError):  # no name of a file, or links in a circle
        manifest = None
    if manifest is None:
        raise MissingError(f"no artifact in {shown(path)}. See: microtome cache ls")
    return Artifact(path, manifest)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of the artifact in `folder`; None if there is none.

    Raises DamagedError if it is no manifest of ours, or not that of this folder, whose name ends in the
    beginning of the id; StoreError if it cannot be read.
    """
    path = folder / MANIFEST
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(f"{MANIFEST} is no file")
        if status.st_size > HUGE:
            raise DamagedError(f"{MANIFEST} has {status.st_size} bytes")
        text = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        raise DamagedError(f"{MANIFEST} is not UTF-8") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    return _checked(text, folder.name)


def _checked(text: str, folder_name: str) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedError(f"{MANIFEST} is not JSON") from None
    if not isinstance(manifest, dict):
        raise DamagedError(f"{MANIFEST} is no JSON object")
    for name, kind in FIELDS.items():
        if not isinstance(manifest.get(name), kind) or isinstance(manifest[name], bool):
            raise DamagedError(f"{MANIFEST} has no {name} of a manifest")
    if not isinstance(manifest["provenance"].get("made"), str):
        raise DamagedError(f"{MANIFEST} does not say when it was made")
    try:
        wanted = artifact_id(*(manifest[name] for name in ("kind", "version", "config", "inputs")))
    except (TypeError, ValueError, RecursionError, OverflowError):
        raise DamagedError(f"{MANIFEST} has no identity") from None
    if manifest["id"] != wanted or not all(isinstance(v, str) for v in manifest["inputs"].values()):
        raise DamagedError(f"{MANIFEST} does not have the id of what it describes")
    if not folder_name.endswith(f"-{wanted[:SHORT]}"):
        raise DamagedError(f"its name does not end in -{wanted[:SHORT]}, as its manifest says")
    return manifest
