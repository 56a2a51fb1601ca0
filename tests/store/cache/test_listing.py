"""The caches of a store as a table."""

import pytest

from microtome.store.artifacts.store import Store
from microtome.store.cache.listing import CACHE_COLUMNS, caches
from microtome.store.errors import InputError


def test_caches_are_listed_and_chosen_by_label(demo_store):
    every = caches()
    assert len(every) == len(Store().list("extract")) == 32
    chosen = caches(task="demo-ner", model="bert", split="test", hidden=True)
    assert chosen["fraction"].tolist() == [0, 100]
    assert chosen["seed"].isna().tolist() == [True, False]
    assert (chosen["layers"] == 3).all()
    assert caches(seed=1, fraction=0).empty
    with pytest.raises(InputError, match="unknown label of caches 'modle'; did you mean 'model'"):
        caches(modle="bert")


def test_a_row_says_what_the_cache_says(small_cache):
    [row] = caches(small_cache.artifact.path.parent.parent).to_dict("records")
    assert list(row) == list(CACHE_COLUMNS)
    assert row == {
        **{"task": "genes", "model": "tiny", "fraction": 30, "seed": 7, "split": "test", "unit": "word"},
        **{"examples": 3, "tokens": 12, "layers": 2, "heads": 2, "dim": 6, "hidden": True, "attention": True},
        "megabytes": small_cache.artifact.bytes() / 1e6,
        "id": small_cache.artifact.id,
        "folder": small_cache.artifact.path.name,
    }
