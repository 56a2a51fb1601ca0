"""Whether another process, maybe on another machine, sees the same store: each writes a note, the other
reads it."""

import contextlib
from pathlib import Path

from microtome.store.artifacts.store import Store
from microtome.store.errors import StoreError
from microtome.store.files.operations import remove_if_empty
from microtome.store.files.removal import remove

NOTES = ".notes"  # a folder of the store, or the beginning of keys on object storage


def note_place(store: Store, name: str) -> str:
    """Where a note lies, for a message."""
    return (
        str(store.root / NOTES / name) if store.remote is None else f"{store.remote.address}/{NOTES}/{name}"
    )


def write_note(store: Store, name: str) -> None:
    """Leave a note in a store. StoreError if nothing can be written there."""
    if store.remote is not None:
        store.remote.objects.put(f"{NOTES}/{name}", name.encode())
        return
    path = store.root / NOTES / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from None


def has_note(store: Store, name: str) -> bool:
    """Whether a note of this name is seen from here."""
    if store.remote is not None:
        return store.remote.objects.size(f"{NOTES}/{name}") is not None
    return _note(store, name).is_file()


def remove_notes(store: Store, names: list[str]) -> None:
    """Remove notes; one that is not there is none."""
    with contextlib.suppress(OSError, StoreError):
        if store.remote is not None:
            store.remote.objects.delete([f"{NOTES}/{name}" for name in names])
            return
        for name in names:
            remove(_note(store, name), inside=store.root)
        remove_if_empty(store.root / NOTES)


def _note(store: Store, name: str) -> Path:
    return store.root / NOTES / name
