"""Activation caches as the sources of a job: in its store, or in a folder elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microtome.jobs.kinds.job import Sources
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache


def open_cache(folder: Path | None, store: Store, identity: str) -> ActivationCache:
    """The cache in a folder, if one is given; else that of an identity in the store."""
    return ActivationCache(folder or store.open(identity).path)


@dataclass(frozen=True)
class CachePair(Sources):
    """The folders of two caches, where they are not in the store that the rows go into."""

    before: Path | None = None
    after: Path | None = None


def open_pair(
    pair: CachePair, store: Store, inputs: Mapping[str, str]
) -> tuple[ActivationCache, ActivationCache]:
    """The caches that a job compares."""
    return (
        open_cache(pair.before, store, inputs["before"]),
        open_cache(pair.after, store, inputs["after"]),
    )
