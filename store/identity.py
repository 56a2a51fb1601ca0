"""Identity: the sha256 of canonical JSON. The same request, made anywhere, has the same id."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

PLAIN = {str, int, bool, type(None)}  # canonical as they are; most of what a manifest holds
SHORT = 8  # hex digits of an id in a folder name


def canonical(value: Any) -> Any:
    """`value` as plain JSON in one form only: sorted keys, tuples as lists, 30.0 as 30.

    Raises TypeError naming the type and where it stands; nothing is ever pickled into an identity.
    """
    return _canonical(value, "value")


def _canonical(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where} is {value}: only finite numbers have a canonical form")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has a {type(key).__name__} key {key!r}: use a string key")
        return {
            key: inner if type(inner := value[key]) in PLAIN else _canonical(inner, f"{where}.{key}")
            for key in sorted(value)
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [
            item if type(item) in PLAIN else _canonical(item, f"{where}[{i}]") for i, item in enumerate(value)
        ]
    raise TypeError(f"{where} is a {type(value).__name__}: convert it to JSON values first")


def canonical_json(value: Any) -> str:
    """One text per value: no spaces, sorted keys, UTF-8 as it is."""
    return json.dumps(
        canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def artifact_id(kind: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """The identity of an artifact: its kind, that kind's version, its settings, the ids it is made from."""
    return digest({"kind": kind, "version": version, "config": config, "inputs": inputs})


def files_digest(digests: Mapping[str, str]) -> str:
    """The digest of a set of files, by name the sha256 of each; where they lie changes nothing."""
    return digest([[name, digests[name]] for name in sorted(digests)])
