"""What a model is and what of it can be kept, from its config.json alone: no weight is read."""

from pathlib import Path
from typing import Any

import numpy as np

from microtome.jobs.models import loading
from microtome.jobs.models.architecture import Architecture, architecture_of
from microtome.jobs.models.sites import key_value_heads, sites_of
from microtome.store.cache.layout import Layout

TEXT_LENGTHS = (128, 512)  # tokens of a text, on which the size of attentions depends
TOKENS = 1000


def describe(folder: Path) -> dict[str, Any]:
    """Facts by name. InputError if the config cannot be read."""
    config = loading.load_config(folder)
    architecture = architecture_of(config.to_dict())
    heads = getattr(config, "num_attention_heads", None)
    return {
        "architecture": architecture.kind,
        "part that is used": "encoder" if config.is_encoder_decoder else "all",
        "layers": getattr(config, "num_hidden_layers", None),
        "attention heads": None if architecture.no_attention else heads,
        "key-value heads": None if architecture.no_attention else key_value_heads(config, heads),
        "width": getattr(config, "hidden_size", None),
        "positions": architecture.positions or "no limit",
        "tokens see": "what is before them" if loading.is_causal(config) else "all tokens",
        "published in": architecture.dtype,
        "can be used": architecture.unusable or "yes",
        "hidden states": "none" if architecture.unusable else "can be kept",
        "attentions": _attentions(architecture),
        "sites": _sites(architecture),
        **_sizes(config, architecture),
    }


def _attentions(architecture: Architecture) -> str:
    if architecture.unusable:
        return "none"
    if architecture.no_attention:
        return f"none: {architecture.no_attention}"
    if architecture.sinks:
        return "can be kept; rows sum to less than 1, as attention sinks take a share"
    return "can be kept"


def _sites(architecture: Architecture) -> str:
    return "none" if architecture.unusable else ", ".join(sites_of(architecture.kind)) or "none"


def _sizes(config: Any, architecture: Architecture) -> dict[str, int]:
    """Bytes on disk in float16, uncompressed, of 1,000 tokens."""
    if architecture.unusable or not isinstance(getattr(config, "num_hidden_layers", None), int):
        return {}
    layers = config.num_hidden_layers
    shape = {"layers": layers, "dim": config.hidden_size, "causal": loading.is_causal(config)}
    hidden = Layout(
        **shape, heads=0, dtype="float16", hidden_layers=tuple(range(layers + 1)), attention_layers=()
    )
    sizes = {
        f"bytes of hidden states per {TOKENS:,} tokens": int(
            hidden.bytes_per_example(np.array([TOKENS])).sum()
        )
    }
    if architecture.no_attention:
        return sizes
    maps = Layout(
        **shape,
        heads=config.num_attention_heads,
        dtype="float16",
        hidden_layers=(),
        attention_layers=tuple(range(layers)),
    )
    for length in TEXT_LENGTHS:
        each = int(maps.bytes_per_example(np.array([length])).sum())
        sizes[f"bytes of attentions per {TOKENS:,} tokens, in texts of {length}"] = each * TOKENS // length
    return sizes
