"""The manifest of an artifact: what it is, what it was made from, its files, and a checksum of itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.checksums import checksum_of
from store.files import write_json

MANIFEST = "manifest.json"


def write_manifest(folder: Path, values: Mapping[str, Any]) -> None:
    """Write `values` with their checksum; ValueError for a number that is not finite."""
    plain = json.loads(json.dumps(values, allow_nan=False))  # what a reader will see: text keys, lists
    write_json(folder / MANIFEST, {**plain, "checksum": _checksum(plain)})


def parse_manifest(text: str) -> dict[str, Any]:
    """A manifest as it was written; ValueError if it is not."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    rest = {key: value for key, value in found.items() if key != "checksum"}
    if found.get("checksum") != _checksum(rest):
        raise ValueError("differs from its checksum")
    return found


def _checksum(values: Mapping[str, Any]) -> str:
    """Of canonical JSON: keys sorted, no spaces."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return checksum_of(text.encode())
