"""What an architecture can be used for, from its config.json alone: refused before anything is spent."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome.jobs.models.sites import sites_refusal

UNLIMITED = 1 << 20  # positions of a model that does not say how many it has
# Names that configs have for the longest sequence.
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
# Here the first position is numbered by the padding token, and as many rows of the table are never used.
NUMBERED_FROM_PADDING = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
PADDING = 1  # their padding token, where a config does not say

# Of these the encoder is used, and the decoder left alone.
WITH_PLAIN_ENCODER = {"bart", "m2m_100", "marian", "mbart", "mt5", "mvp", "pegasus", "plbart", "t5", "umt5"}
# Their encoders have attention within blocks or windows, or n-grams, which a cache has no room for.
WITH_OTHER_ENCODER = {"bigbird_pegasus", "fsmt", "led", "longt5", "pegasus_x", "prophetnet"}
WITH_OTHER_ENCODER |= {"switch_transformers"}
MULTIMODAL = {"gemma3", "gemma3n", "gemma4", "llama4", "mllama", "qwen3_5"}
WITHOUT_HEADS = {"falcon_mamba", "fnet", "mamba", "mamba2", "rwkv", "xlstm"}
PARTLY_WITHOUT = {"bamba", "falcon_h1", "granitemoehybrid", "jamba", "kimi_linear", "lfm2", "nemotron_h"}
PARTLY_WITHOUT |= {"olmo_hybrid", "qwen3_next", "recurrent_gemma", "zamba", "zamba2"}
NOT_SQUARE = {
    "canine",
    "funnel",
    "longformer",
    "mra",
    "nystromformer",
    "perceiver",
    "reformer",
    "yoso",
}
FEWER_HEADS = {"convbert"}  # than the config says: a convolution stands for the others
SINKS = {"gpt_oss"}  # a learned weight that belongs to no token takes a share of every row

DTYPES = ("float32", "bfloat16", "float16")  # that weights are computed in


@dataclass(frozen=True)
class Architecture:
    """`kind` as transformers calls it; the longest sequence that fits, None where nothing limits it; why
    nothing of it can be fine-tuned or extracted, and why its attentions cannot be kept, empty where they can;
    and the dtype that its weights are published in."""

    kind: str
    positions: int | None = None
    unusable: str = ""
    no_attention: str = ""
    dtype: str = "float32"

    def refusal(
        self, *, keep: Collection[str] = (), length: int = 0, length_named: str = "max_length"
    ) -> str:
        """Why this cannot be used with sequences of a length, or to keep these activations; empty where it
        can."""
        if self.unusable:
            return f"{self.kind} models cannot be used: {self.unusable}"
        if self.no_attention and "attention" in keep:
            return f"{self.kind} models have no attentions to keep: {self.no_attention}. Set keep: [hidden]"
        without_sites = sites_refusal(self.kind, keep)
        if without_sites:
            return without_sites
        if self.positions is not None and length > self.positions:
            return f"{length_named} {length} exceeds the {self.positions} positions of this {self.kind}"
        return ""

    @property
    def sinks(self) -> bool:
        """Whether rows of attention sum to less than one."""
        return self.kind in SINKS


def read_architecture(folder: Path) -> Architecture | None:
    """That of a model folder; None where its config.json says nothing."""
    try:
        values = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None  # whoever loads the model will say what is wrong
    return architecture_of(values) if isinstance(values, Mapping) else None


def architecture_of(values: Mapping[str, Any]) -> Architecture:
    """That of the values of a config.json."""
    kind = str(values.get("model_type", ""))
    return Architecture(
        kind,
        _usable_positions(kind, values),
        _unusable(kind, values),
        _no_attention(kind, values),
        _dtype(values),
    )


def _usable_positions(kind: str, values: Mapping[str, Any]) -> int | None:
    positions = next((values[name] for name in POSITIONS if isinstance(values.get(name), int)), None)
    relative = kind in {"mt5", "t5", "umt5"}  # `n_positions` in their configs limits nothing
    if positions is None or positions < 1 or relative:  # XLNet says -1
        return None
    rotary = values.get("position_embedding_type", "absolute") != "absolute"
    if kind not in NUMBERED_FROM_PADDING or rotary:
        return positions
    padding = values.get("pad_token_id")
    return positions - 1 - (padding if isinstance(padding, int) and kind != "mpnet" else PADDING)


def _unusable(kind: str, values: Mapping[str, Any]) -> str:
    encoder_decoder = values.get("is_encoder_decoder") is True or kind in WITH_OTHER_ENCODER
    if encoder_decoder and kind not in WITH_PLAIN_ENCODER:
        return "of models with an encoder and a decoder, these are used: " + ", ".join(
            sorted(WITH_PLAIN_ENCODER)
        )
    if kind in MULTIMODAL or any(f"{part}_config" in values for part in ("text", "vision", "audio")):
        return "they hold several models; take the text model alone, if it is published as one"
    blocks = kind == "big_bird" and values.get("attention_type") != "original_full"
    if kind in NOT_SQUARE or blocks:
        return "their attention is not that of every token to every token, which a cache has room for"
    return ""


def _no_attention(kind: str, values: Mapping[str, Any]) -> str:
    if kind in WITHOUT_HEADS:
        return "their layers have no attention heads"
    if kind in PARTLY_WITHOUT or any(not _attends(layer) for layer in values.get("layer_types") or ()):
        return "some of their layers have no attention heads"
    if kind in FEWER_HEADS:
        return "their layers have fewer attention heads than their config says"
    return ""


def _attends(layer: object) -> bool:
    return str(layer).endswith("attention") and not str(layer).startswith("linear")


def _dtype(values: Mapping[str, Any]) -> str:
    dtype = str(values.get("dtype", values.get("torch_dtype")))
    return dtype if dtype in DTYPES else "float32"
