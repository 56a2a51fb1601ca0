"""A small cache of words with labels, as an extraction writes it."""

from dataclasses import dataclass

import numpy as np
import pytest

from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.examples import Examples
from microtome.store.cache.layout import Layout, pack_attention
from microtome.store.cache.writer import CacheWriter

LENGTHS = [4, 3, 5]
LAYERS, HEADS, DIM = 2, 2, 6


@dataclass
class SmallCache:
    """An artifact and what was written into it: hidden [layers, tokens, dim], attention per example."""

    artifact: object
    hidden: np.ndarray
    attention: list


@pytest.fixture
def small_cache(tmp_path):
    """A cache of three examples: the first token of each is special, every other is a word of its own."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    words = [length - 1 for length in LENGTHS]
    table = Examples(
        offsets=offsets,
        input_ids=np.arange(offsets[-1], dtype=np.int32),
        word_ids=np.concatenate([np.arange(-1, count) for count in words]).astype(np.int32),
        segment_ids=np.zeros(offsets[-1], np.int8),
        special_mask=np.isin(np.arange(offsets[-1]), offsets[:-1]),
        word_offsets=np.concatenate([[0], np.cumsum(words)]),
        labels=np.arange(sum(words), dtype=np.int16) % 3,
        spans=np.zeros((3, 2, 2), np.int32),
        rows=np.arange(3),
    )
    layout = Layout(
        layers=LAYERS,
        heads=HEADS,
        dim=DIM,
        causal=False,
        dtype="float32",
        hidden_layers=(0, 1, 2),
        attention_layers=(0, 1),
    )
    hidden = rng.normal(size=(LAYERS + 1, offsets[-1], DIM)).astype(np.float32)
    attention = [rng.dirichlet(np.ones(n), (LAYERS, HEADS, n)).astype(np.float32) for n in LENGTHS]
    labels = {"task": "genes", "model": "tiny", "fraction": 30, "seed": 7}
    request = Request("extract", 1, {"a": 1}, {"checkpoint": "c"}, "genes.tiny.test", labels=labels)
    store = Store(tmp_path / "store")
    with store.begin(request) as staging:
        with CacheWriter(staging.path, staging.scratch, layout, table, part_format="zarr") as writer:
            for buffer in writer.claims():
                for example in range(3):
                    rows = slice(offsets[example], offsets[example + 1])
                    buffer.slot("hidden", example)[:] = hidden[:, rows]
                    buffer.slot("attention", example)[:] = pack_attention(attention[example], False)
                writer.submit(buffer)
            described, staging.files = writer.finish()
        says = {"task": "genes", "unit": "word", "classes": ["O", "B-gene", "I-gene"], "split": "test"}
        staging.outputs["cache"] = described | says
    return SmallCache(store.find(request), hidden, attention)
