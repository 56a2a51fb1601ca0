"""Attention comparison: how much each head changed between two checkpoints, on the same tokens."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field

from analysis.divergence import cosine, jensen_shannon
from store import ActivationCache
from store.config import Config
from store.errors import InputError


class AttentionConfig(Config):
    """What is compared."""

    measures: tuple[Literal["cosine", "jensen_shannon"], ...] = Field(
        ("cosine", "jensen_shannon"),
        description="cosine of flattened maps; Jensen-Shannon of rows, mean over rows, over ln 2",
    )
    layers: tuple[int, ...] | None = Field(
        None, description="attention layers from 0; all that are kept if unset"
    )


def compare_attention(
    config: AttentionConfig,
    before: ActivationCache,
    after: ActivationCache,
    report: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Mean over examples per layer and head, and `<measure>_std`, its spread; both caches are streamed.

    InputError unless both hold the same tokens in the same order.
    """
    _refuse_mismatch(before, after)
    rows = []
    for layer in config.layers if config.layers is not None else before.layout.attention_layers:
        values: dict[str, list[np.ndarray]] = {name: [] for name in config.measures}
        pairs = zip(before.iter_attention(layer), after.iter_attention(layer), strict=True)
        for (_, old), (_, new) in pairs:
            for name in config.measures:
                values[name].append(_MEASURES[name](old, new))
        for measure, per_example in values.items():
            table = np.stack(per_example)
            rows += _head_rows(after, layer, measure, table.mean(0), table.shape[0])
            rows += _head_rows(after, layer, f"{measure}_std", table.std(0), table.shape[0])
        report(f"layer {layer}")
    return rows


def _row_divergence(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean over query rows, over ln 2: [heads], between 0 and 1."""
    return jensen_shannon(_distributions(before), _distributions(after)).mean(-1) / math.log(2)


def _distributions(maps: np.ndarray) -> np.ndarray:
    """float32 rows that sum to one again after half-precision storage."""
    maps = maps.astype(np.float32)
    return maps / np.maximum(maps.sum(-1, keepdims=True), np.finfo(np.float32).tiny)


_MEASURES = {"cosine": cosine, "jensen_shannon": _row_divergence}


def _head_rows(
    cache: ActivationCache, layer: int, metric: str, values: np.ndarray, n: int
) -> list[dict[str, Any]]:
    split = cache.manifest["outputs"]["cache"]["split"]
    return [
        {"split": split, "layer": layer, "head": head, "metric": metric, "value": float(value), "n": n}
        for head, value in enumerate(values)
    ]


def _refuse_mismatch(before: ActivationCache, after: ActivationCache) -> None:
    names = f"{before.path.name} and {after.path.name}"
    if not before.layout.attention_layers or not after.layout.attention_layers:
        raise InputError(f"{names}: at least one keeps no attentions")
    if (before.layers, before.heads, before.causal) != (after.layers, after.heads, after.causal):
        raise InputError(f"{names} are of different architectures")
    same = np.array_equal(before.offsets, after.offsets) and np.array_equal(before.input_ids, after.input_ids)
    if not same:
        raise InputError(f"{names} do not hold the same tokens; extract both with the same task and options")
