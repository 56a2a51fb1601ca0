"""Whether a node of a cluster can run the jobs of a driver: it has the same microtome and sees the same
store."""

import functools
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from microtome.jobs.data.code_version import code_version
from microtome.store.artifacts.store import Store
from microtome.store.artifacts.visibility import has_note, note_place, write_note
from microtome.store.errors import MicrotomeError

PACKAGES = ("store", "analysis", "jobs")  # whose code decides what a job makes


@dataclass(frozen=True)
class Expected:
    """What the driver has: its store, the name of a note that it has left there, its microtome and its
    code."""

    store: str | Path
    note: str
    version: str
    code: str

    @classmethod
    def by_driver(cls, store: Store, note: str) -> "Expected":
        return cls(store.reference, note, importlib.metadata.version("microtome"), code_version(PACKAGES))


def reply_to(note: str, node_id: str) -> str:
    """The name of the note that a node leaves, to be read by the driver."""
    return f"{note}.{node_id}"


@functools.cache
def node_fault(expected: Expected, node: str, node_id: str) -> str:
    """Why the jobs of a driver cannot run on this node, in one line; empty if they can. Under a `node_id`
    it leaves a note for the driver, who sees by it that both have one store."""
    version, code = importlib.metadata.version("microtome"), code_version(PACKAGES)
    if version != expected.version:
        return (
            f"{node} has microtome {version}, the driver {expected.version}; install {expected.version} there"
        )
    if code != expected.code:
        return (
            f"{node} has other code of microtome {version} than the driver, or another Python "
            f"(digest {code[:8]}, not {expected.code[:8]}); install the same commit there"
        )
    try:
        store = Store(expected.store)
        if not has_note(store, expected.note):
            return (
                f"{node} does not see {note_place(store, expected.note)}, which the driver has written. "
                "Set MICROTOME_STORE to a folder that every node sees, or to object storage"
            )
        if node_id:
            write_note(store, reply_to(expected.note, node_id))
    except MicrotomeError as error:
        return f"{node}: {error}"
    return ""
