"""Recomputation: whether a cache says what its checkpoint says.

A checksum shows that the bytes are those that were written, not that they were the right ones. Here a
sample of a cache's examples goes through the model again, each alone, unpadded and in float32, and is
compared with what the reader returns. The cache and its checkpoint are enough, no dataset is read.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microtome.jobs.data.fractions import sample
from microtome.jobs.models import loading
from microtome.jobs.models.batching import takes_segments
from microtome.jobs.models.source import ModelSource, find_model, find_weights
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.cache.layout import ATTENTION, HIDDEN
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import MissingError

# Absolute, and as a share of the value: what the dtype on disk rounds to; and what a pass in half precision
# differs by where sequences are padded otherwise.
TOLERANCE = {"float16": (1e-4, 2e-3), "float32": (1e-4, 1e-5), "bfloat16": (1e-4, 8e-3)}
# Of int8, a share of the largest value of the row, and somewhat more than half a step.
TOLERANCE_OF_ROW = 0.6 / 127
TOLERANCE_COMPUTED = {"float32": (0.0, 0.0), "float16": (1e-2, 1e-2), "bfloat16": (1e-1, 5e-2)}
PLURAL = {HIDDEN: "hidden states", ATTENTION: "attentions"}


@dataclass
class Comparison:
    """Cached and recomputed activations: the largest absolute difference of each array that is kept, and
    where the first one stands that is beyond what the cache's dtype rounds to."""

    recomputed: int
    examples: int
    largest: dict[str, float]
    beyond: str = ""

    def __str__(self) -> str:
        said = [
            f"{plural} differ by at most {self.largest[name]:.2g}"
            if name in self.largest
            else f"{plural} not kept"
            for name, plural in PLURAL.items()
        ]
        return f"{self.recomputed} of {self.examples} examples recomputed, {', '.join(said)}"


def recompute(artifact: Artifact, folder: Path, *, share: float, seed: int) -> Comparison:
    """Compare about `share` of a cache's examples, at least one, with the model in `folder`."""
    cache = ActivationCache(artifact.path)
    read: dict[str, Callable[[int, int], np.ndarray]] = {HIDDEN: cache.hidden}
    if cache.layout.attention_topk is None and cache.layout.map_layers:
        read[ATTENTION] = cache.attention
    computed = TOLERANCE_COMPUTED[cache.description.compute]
    chosen = sample(cache.examples, max(1, round(share * cache.examples)), seed)
    names = [name for name in read if cache.layout.kept(name)]
    result = Comparison(len(chosen), cache.examples, dict.fromkeys(names, 0.0))
    for example in chosen:
        model = _load(folder, cache.description.compute, bool(cache.layout.attention_layers))
        made = _activations(cache, example, *model)
        for name in names:
            for layer in cache.layout.kept(name):
                wanted = made[name][layer]
                difference = np.abs(read[name](layer, example) - wanted)
                largest = float(difference.max())
                result.largest[name] = float(np.maximum(result.largest[name], largest))  # keeps a NaN
                dtype = cache.layout.dtype_of(name)
                within = difference <= _limits(wanted, dtype, computed)
                if not within.all() and not result.beyond:
                    result.beyond = f"{name} of layer {layer}, example {example} differs by {largest:.2g}"
    cache.close()
    return result


def _limits(wanted: np.ndarray, dtype: str, computed: tuple[float, float]) -> np.ndarray:
    """How far values in a dtype may be from those wanted; `computed` is what the pass allows."""
    size = np.abs(wanted)
    if dtype == "int8":
        rounding = TOLERANCE_OF_ROW * size.max(-1, keepdims=True)
        return np.maximum(1e-4, computed[0]) + rounding + computed[1] * size
    absolute, relative = map(max, zip(TOLERANCE[dtype], computed, strict=True))
    return absolute + relative * size


def checkpoint_of(artifact: Artifact, store: Store, references: Sequence[str] = ()) -> ModelSource:
    """The checkpoint a cache was made from: in the store, or the one with the same weights among
    `references`, what the store remembers by that identity, and the name in the cache's labels.

    Raises MissingError if none of them has these weights.
    """
    identity = artifact.inputs["checkpoint"]
    for reference in references:
        find_model(reference, store)  # what the user names must be there
    label = artifact.labels.get("model")
    try:
        return find_weights(identity, store, [*references, *([label] if label else [])])
    except MissingError as error:
        named = f"model '{label}', " if label else ""
        raise MissingError(
            f"the checkpoint of {artifact.name} ({named}identity {identity[:8]}) {error}. "
            "Copy its artifact into this store, or name the model: --model REFERENCE"
        ) from None


@functools.lru_cache(maxsize=1)  # neighbouring caches are often of one checkpoint
def _load(folder: Path, compute: str, attentions: bool) -> tuple[Any, bool]:
    """The model, and whether it is told first from second text."""
    device = loading.best_device()
    model = loading.load_backbone(folder, device, attentions=attentions, compute=compute)
    return model, takes_segments(model, loading.load_tokenizer(folder))


@torch.inference_mode()
def _activations(
    cache: ActivationCache, example: int, model: Any, with_segments: bool
) -> dict[str, np.ndarray]:
    """float32 hidden [l, T, d] and, if the cache keeps any, attention [l, h, T, T] of one example."""
    tokens = slice(int(cache.offsets[example]), int(cache.offsets[example + 1]))
    ids, segments = cache.input_ids[tokens], cache.segment_ids[tokens]
    separate = cache.description.segments == "separate"
    cuts = (np.flatnonzero(np.diff(segments) > 0) + 1).tolist() if separate else []
    hidden, attention = [], []
    for piece in np.split(np.arange(len(ids)), cuts):
        rows = {"input_ids": ids[piece]} | ({"token_type_ids": segments[piece]} if with_segments else {})
        inputs = {name: torch.from_numpy(row.astype(np.int64))[None] for name, row in rows.items()}
        output = model(
            **{name: row.to(model.device) for name, row in inputs.items()},
            output_hidden_states=True,
            output_attentions=bool(cache.layout.attention_layers),
        )
        hidden.append(torch.cat(output.hidden_states).float().cpu().numpy())
        if cache.layout.attention_layers:
            attention.append(torch.cat(output.attentions).float().cpu().numpy())
    made = {HIDDEN: _kept_rows(cache, example, np.concatenate(hidden, axis=1))}
    return made | ({ATTENTION: attention[0]} if attention else {})  # attention is kept of undivided ones only


def _kept_rows(cache: ActivationCache, example: int, hidden_ltd: np.ndarray) -> np.ndarray:
    """What the cache keeps of the tokens of an example: [l, rows, d]."""
    rows = cache.token_rows
    begin, end = rows.offsets[example : example + 2]
    own = rows.tokens[rows.starts[begin] : rows.starts[end]] - cache.offsets[example]
    if end == begin:
        return hidden_ltd[:, :0]
    starts = rows.starts[begin:end] - rows.starts[begin]
    counts = np.diff(rows.starts[begin : end + 1])
    return np.add.reduceat(hidden_ltd[:, own], starts, axis=1) / counts[:, None].astype(np.float32)
