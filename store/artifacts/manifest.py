"""The manifest of an artifact: what it is, what it was made from, its files, and a checksum of itself."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microtome.store.errors import DamagedError, StoreError
from microtome.store.files.checksums import checksum_of
from microtome.store.files.operations import write_json
from microtome.store.identity import SHORT, artifact_id

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
    "files": dict,
    "checksum": str,
}


def write_manifest(folder: Path, values: Mapping[str, Any]) -> None:
    """Write `values` with their checksum; StoreError for a number that is not finite."""
    try:
        plain = json.loads(json.dumps(values, allow_nan=False))  # what a reader will see: text keys, lists
    except ValueError:
        raise StoreError(f"cannot write {MANIFEST}: a number in it is not finite") from None
    write_json(folder / MANIFEST, {**plain, "checksum": _checksum(plain)})


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
    if not isinstance(manifest.get("settings", {}), dict):  # older artifacts have none
        raise DamagedError(f"{MANIFEST} has no settings of a manifest")
    if not isinstance(manifest["provenance"].get("made"), str):
        raise DamagedError(f"{MANIFEST} does not say when it was made")
    try:
        wanted = artifact_id(*(manifest[name] for name in ("kind", "version", "config", "inputs")))
    except (TypeError, ValueError, RecursionError, OverflowError):
        raise DamagedError(f"{MANIFEST} has no identity") from None
    if manifest["id"] != wanted or not all(isinstance(v, str) for v in manifest["inputs"].values()):
        raise DamagedError(f"{MANIFEST} does not have the id of what it describes")
    if manifest["checksum"] != _checksum({k: v for k, v in manifest.items() if k != "checksum"}):
        raise DamagedError(f"{MANIFEST} differs from its checksum")
    if not folder_name.endswith(f"-{wanted[:SHORT]}"):
        raise DamagedError(f"its name does not end in -{wanted[:SHORT]}, as its manifest says")
    return manifest


def _checksum(values: Mapping[str, Any]) -> str:
    """Of canonical JSON: keys sorted, no spaces."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return checksum_of(text.encode())
