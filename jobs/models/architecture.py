"""What an architecture can be used for, from its config.json alone: refused before anything is spent."""

import functools
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADS = {"token": "token-classification", "sequence": "sequence-classification"}
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
# With these nothing has to be looked up, which takes seconds: they have both heads.
WITH_BOTH_HEADS = {"bert", "biogpt", "distilbert", "electra", "gpt2", "llama", "mistral", "qwen2", "roberta"}

ENCODER_DECODERS = {"bart", "led", "longt5", "m2m_100", "marian", "mbart", "mt5", "mvp", "pegasus", "plbart"}
ENCODER_DECODERS |= {
    "bigbird_pegasus",
    "fsmt",
    "pegasus_x",
    "prophetnet",
    "switch_transformers",
    "t5",
    "umt5",
}
MULTIMODAL = {"gemma3", "gemma3n", "gemma4", "llama4", "mllama", "qwen3_5"}
WITHOUT_HEADS = {"falcon_mamba", "fnet", "mamba", "mamba2", "rwkv", "xlstm"}
PARTLY_WITHOUT = {"bamba", "falcon_h1", "granitemoehybrid", "jamba", "kimi_linear", "lfm2", "nemotron_h"}
PARTLY_WITHOUT |= {"olmo_hybrid", "qwen3_next", "recurrent_gemma", "zamba", "zamba2"}
NOT_SQUARE = {
    "canine",
    "convbert",
    "funnel",
    "longformer",
    "mra",
    "nystromformer",
    "perceiver",
    "reformer",
    "yoso",
}


@dataclass(frozen=True)
class Architecture:
    """`kind` as transformers calls it; the longest sequence that fits, None where nothing limits it; and why
    nothing of it can be fine-tuned or extracted, empty where it can."""

    kind: str
    positions: int | None = None
    unusable: str = ""

    def refusal(self, *, head: str | None = None, length: int = 0, length_named: str = "max_length") -> str:
        """Why this cannot be used with a head, or with sequences of a length; empty where it can."""
        if self.unusable:
            return f"{self.kind} models cannot be used: {self.unusable}"
        if head is not None and not has_head(self.kind, head):
            return f"{self.kind} models have no {HEADS[head]} head in transformers; take another model"
        if self.positions is not None and length > self.positions:
            return f"{length_named} {length} exceeds the {self.positions} positions of this {self.kind}"
        return ""


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
    return Architecture(kind, _usable_positions(kind, values), _unusable(kind, values))


def has_head(kind: str, head: str) -> bool:
    """Whether transformers has a class for this architecture with the head of a task; taken for granted where
    transformers is not installed, since nothing is trained there."""
    return kind in WITH_BOTH_HEADS or importlib.util.find_spec("transformers") is None or kind in _known(head)


@functools.cache
def _known(head: str) -> frozenset[str]:
    from transformers.models.auto import modeling_auto

    return frozenset(
        {
            "token": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
            "sequence": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        }[head]
    )


def _usable_positions(kind: str, values: Mapping[str, Any]) -> int | None:
    found = next((values[name] for name in POSITIONS if isinstance(values.get(name), int)), None)
    if found is None or found < 1:  # XLNet says -1
        return None
    rotary = values.get("position_embedding_type", "absolute") != "absolute"
    if kind not in NUMBERED_FROM_PADDING or rotary:
        return found
    padding = values.get("pad_token_id")
    return found - 1 - (padding if isinstance(padding, int) and kind != "mpnet" else PADDING)


def _unusable(kind: str, values: Mapping[str, Any]) -> str:
    if values.get("is_encoder_decoder") is True or kind in ENCODER_DECODERS:
        return "they have an encoder and a decoder, and a cache holds one stack of layers"
    if kind in MULTIMODAL or any(f"{part}_config" in values for part in ("text", "vision", "audio")):
        return "they hold several models; take the text model alone, if it is published as one"
    if kind in WITHOUT_HEADS:
        return "their layers have no attention heads"
    if kind in PARTLY_WITHOUT or any(not _attends(layer) for layer in values.get("layer_types") or ()):
        return "some of their layers have no attention heads"
    blocks = kind == "big_bird" and values.get("attention_type") != "original_full"
    if kind in NOT_SQUARE or blocks:
        return "their attention is not that of every token to every token, which a cache has room for"
    return ""


def _attends(layer: object) -> bool:
    return str(layer).endswith("attention") and not str(layer).startswith("linear")
