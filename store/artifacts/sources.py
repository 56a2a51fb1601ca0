"""`sources.json`: the identities of models and datasets, for a machine that has the store but not them."""

import json
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from microtome.store.errors import StoreError
from microtome.store.files.locks import lock_path
from microtome.store.files.operations import remove_unfinished_writes, write_json

SOURCES = "sources.json"


def remember(root: Path, identities: Mapping[str, str]) -> None:
    """Note identities by name beside the artifacts; several processes may do it at the same time.

    StoreError, and nothing is written, if what was noted before is damaged.
    """
    path = root / SOURCES
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_path(path)):
        before = remembered(root)
        after = before | dict(identities)
        if after != before:
            remove_unfinished_writes(path)
            write_json(path, dict(sorted(after.items())))


def remembered(root: Path) -> dict[str, str]:
    """What `remember` noted, by name; StoreError if that is damaged or cannot be read."""
    path = root / SOURCES
    try:
        values = json.loads(path.read_bytes().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise _damaged(path, "it does not hold names and identities")
    return values


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} is damaged: {why}. Put back a copy, or move it away: where the models and data are, "
        "microtome suite run notes them again"
    )
