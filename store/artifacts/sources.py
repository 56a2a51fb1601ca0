"""`sources.json`: the identities of models and datasets, for a machine that has the store but not them."""

import json
from collections.abc import Mapping
from pathlib import Path

from microtome.store.errors import StoreError
from microtome.store.files.locks import locked
from microtome.store.files.operations import remove_strays, write_json

SOURCES = "sources.json"


def remember(root: Path, identities: Mapping[str, str]) -> None:
    """Note identities by name beside the artifacts; several processes may do it at the same time.

    StoreError, and nothing is written, if what was noted before is damaged.
    """
    path = root / SOURCES
    root.mkdir(parents=True, exist_ok=True)
    with locked(path):
        known = remembered(root)
        if known | dict(identities) != known:
            remove_strays(path)
            write_json(path, dict(sorted((known | dict(identities)).items())))


def remembered(root: Path) -> dict[str, str]:
    """What `remember` noted, by name; StoreError if that is damaged or cannot be read."""
    path = root / SOURCES
    try:
        found = json.loads(path.read_bytes().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _damaged(path, "it does not hold names and identities")
    return found


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} is damaged: {why}. Put back a copy, or move it away: where the models and data are, "
        "microtome suite run notes them again"
    )
