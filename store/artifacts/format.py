"""`store.json`: the version of the format that a store is written in."""

import json
import os
from pathlib import Path

from microtome.store.errors import StoreError

STORE = "store.json"
FORMAT = 1  # raise it when an older version of microtome would read a store wrongly


def check_format(root: Path) -> None:
    """StoreError in one line for a store that a newer version has written. A store without a version is
    older, and is read as it is."""
    path = root / STORE
    try:
        text = path.read_bytes()
    except (OSError, ValueError):  # whatever is read next says why, if the store cannot be read at all
        return
    if not text:  # its first writer was killed
        return
    try:
        version = json.loads(text.decode("utf-8"))["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        version = None
    if not isinstance(version, int) or isinstance(version, bool):
        raise StoreError(f'{path} is damaged. Write {{"format": {FORMAT}}} into it, or put back a copy')
    if version > FORMAT:
        raise StoreError(
            f"the store {root} has format {version}, and this version of microtome reads up to {FORMAT}. "
            "Update microtome, or set MICROTOME_STORE to another folder"
        )


def write_format(root: Path) -> None:
    """Make the folder of a store and note its format, unless that is done; OSError where it cannot be."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / STORE
    if path.exists() and path.stat().st_size:
        return
    # In place, in one write: whoever writes at the same time writes the same, and who is killed before it
    # leaves an empty file and no other.
    text = json.dumps({"format": FORMAT}, allow_nan=False) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
