"""A small cache with known values, in a store."""

import numpy as np

from microtome.store.artifacts.store import Request
from microtome.store.cache.examples import Examples
from microtome.store.cache.layout import Layout
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter
from tests.store.cache.word_split import SPLIT

LENGTHS = np.array([5, 1, 9, 3, 7, 4])
LAYERS_OF_MODEL, HEADS, DIM = 3, 2, 8
PART_BYTES = 6000
LAYOUT = Layout(
    layers=LAYERS_OF_MODEL,
    heads=HEADS,
    dim=DIM,
    causal=False,
    dtype="float32",
    hidden_layers=(0, 1, 2, 3),
    attention_layers=(0, 1, 2),
)


def examples():
    tokens = int(LENGTHS.sum())
    return Examples(
        offsets=np.concatenate([[0], np.cumsum(LENGTHS)]),
        input_ids=np.arange(tokens, dtype=np.int32),
        word_ids=np.zeros(tokens, np.int32),
        segment_ids=np.zeros(tokens, np.int8),
        special_mask=np.zeros(tokens, bool),
        word_offsets=np.arange(len(LENGTHS) + 1),
        labels=np.arange(len(LENGTHS), dtype=np.int16),
        spans=np.zeros((len(LENGTHS), 2, 2), np.int32),
        rows=np.arange(len(LENGTHS)),
        documents=np.arange(len(LENGTHS)),
    )


def fill(buffer):
    for name, values in buffer.arrays.items():
        rng = np.random.default_rng([buffer.number, len(name)])
        values[:] = rng.random(values.shape)


def request(form, compression):
    return Request("extract", 1, {"format": form, "compression": compression}, {"data": "aa"}, "cache")


def fill_parts(staging, form, compression, part_bytes=PART_BYTES, after=lambda number: None):
    """Write the parts that are missing; the numbers of those that were."""
    done = []
    with CacheWriter(
        staging.path,
        staging.scratch,
        LAYOUT,
        examples(),
        part_format=form,
        part_bytes=part_bytes,
        compression=compression,
        written=staging.send_progress,
    ) as writer:
        for buffer in writer.claims():
            fill(buffer)
            writer.submit(buffer)
            writer.wait()
            done.append(buffer.number)
            after(buffer.number)
        description, staging.files = writer.finish(SPLIT)
    description.write(staging.outputs)
    return done


def write_cache(store, form, compression):
    """(its reader, the artifact), from the local folder that it was made in."""
    wanted = request(form, compression)
    with store.begin(wanted, resumable=True) as staging:
        fill_parts(staging, form, compression)
    made = store.find(wanted)
    return ActivationCache(made.path), made
