"""The activation caches of a store as one table."""

from pathlib import Path
from typing import Any

import pandas as pd

from microtome.store.artifacts.store import Artifact, Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import unknown
from microtome.store.frames import tidy
from microtome.store.results import COLUMNS

ORIGIN = ("task", "model", "fraction", "seed", "split")  # whose activations they are, and on what
SIZES = ("examples", "tokens", "layers", "heads", "dim")
CACHE_COLUMNS = {
    **{name: COLUMNS[name] for name in ORIGIN},
    "unit": "string",
    **dict.fromkeys(SIZES, "Int64"),
    "hidden": "boolean",  # whether hidden states are kept
    "attention": "boolean",
    "megabytes": "Float64",
    "id": "string",
    "folder": "string",
}
CACHE_LABELS = (*ORIGIN, "unit", "hidden", "attention")


def caches(store: Store | str | Path | None = None, **labels: Any) -> pd.DataFrame:
    """The activation caches of a store, one per row; `labels` choose, as in caches(task="jnlpba", seed=1).

    A label is any of task, model, fraction, seed, split, unit, hidden and attention. `id` is what open_cache
    and the other functions take. InputError for a label that caches do not have.
    """
    for name in labels:
        if name not in CACHE_LABELS:
            raise unknown("label of caches", name, CACHE_LABELS)
    source = store if isinstance(store, Store) else Store(store)
    frame = tidy((_cache_row(artifact) for artifact in source.list("extract")), CACHE_COLUMNS)
    for name, value in labels.items():
        frame = frame[frame[name].eq(value).fillna(False)]
    return frame.reset_index(drop=True)


def _cache_row(artifact: Artifact) -> dict[str, Any]:
    with ActivationCache(artifact.path) as cache:
        described = {name: getattr(cache, name) for name in (*ORIGIN, "unit", *SIZES)}
        hidden, attention = bool(cache.layout.hidden_layers), bool(cache.layout.attention_layers)
    size = {"megabytes": artifact.bytes() / 1e6, "id": artifact.id, "folder": artifact.path.name}
    return {**described, "hidden": hidden, "attention": attention, **size}
