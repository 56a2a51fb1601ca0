"""A maker of caches from arrays, for analyses that need nothing else."""

from itertools import pairwise

import numpy as np
import pytest

from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.description import CachedSplit
from microtome.store.cache.examples import Examples
from microtome.store.cache.layout import Layout, pack_attention
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter


@pytest.fixture
def make_cache(tmp_path):
    """make_cache(name, hidden [l, t, d], lengths, ...) -> ActivationCache, float32, one part."""

    def make(
        name, hidden, lengths, *, words, segments=None, labels, unit="word", classes, attention=None, **more
    ):
        lengths = np.asarray(lengths)
        words = np.asarray(words, np.int32)
        layers = hidden.shape[0] - 1
        heads = attention[0].shape[1] if attention else 1
        layout = Layout(
            layers=layers,
            heads=heads,
            dim=hidden.shape[2],
            causal=more.get("causal", False),
            dtype="float32",
            hidden_layers=tuple(range(layers + 1)),
            attention_layers=tuple(range(layers)) if attention else (),
        )
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        per_example = [words[a:b].max(initial=-1) + 1 for a, b in pairwise(offsets)]
        examples = Examples(
            offsets=offsets,
            input_ids=np.asarray(more.get("input_ids", np.arange(offsets[-1])), np.int32),
            word_ids=words,
            segment_ids=np.asarray(segments if segments is not None else np.zeros(len(words)), np.int8),
            special_mask=words < 0,
            word_offsets=np.concatenate([[0], np.cumsum(more.get("words_per_example", per_example))]),
            labels=np.asarray(labels, more.get("label_dtype", np.int16)),
            spans=np.asarray(more.get("spans", np.zeros((len(lengths), 2, 2))), np.int32),
            rows=np.arange(len(lengths)),
            documents=np.asarray(more.get("documents", np.arange(len(lengths)))),
            texts=None if more.get("texts") is None else np.asarray(more["texts"], np.uint64),
        )
        store = Store(tmp_path / "made")
        request = Request("extract", 1, {"name": name}, {"checkpoint": more.get("checkpoint", "c")}, name)
        with store.begin(request) as staging:
            writer = CacheWriter(staging.path, staging.scratch, layout, examples)
            buffer = next(writer.claims())
            for example in range(len(lengths)):
                buffer.slot("hidden", example)[:] = hidden[:, offsets[example] : offsets[example + 1]]
                if attention:
                    buffer.slot("attention", example)[:] = pack_attention(attention[example], layout.causal)
            writer.submit(buffer)
            split = CachedSplit(
                task="task",
                split=more.get("split", "test"),
                unit=unit,
                classes=tuple(classes),
                credentialed=False,
                segments="together",
                max_length=64,
                truncated_words=0,
            )
            description, staging.files = writer.finish(split)
            description.write(staging.outputs)
        return ActivationCache(store.find(request).path)

    return make
