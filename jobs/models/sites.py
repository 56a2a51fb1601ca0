"""Where the blocks of a family have what is kept by name, besides hidden states and attentions.

Hidden states and attentions are what transformers returns, so that `capture.py` finds them by itself. It
returns none of these, so that a table says which modules of a block make them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from microtome.store.cache.layout import PER_HEAD_SITES, SITES, SiteLayout

Fused = Literal["", "side by side", "head by head"]  # how one module's output holds query, key and value


@dataclass(frozen=True)
class BlockPaths:
    """Modules of a block. `projection` is the one that mixes the heads: it takes the head outputs and gives
    the attention output. `query`, `key` and `value` are empty where they cannot be told apart."""

    projection: str
    mlp: str
    query: str = ""
    key: str = ""
    value: str = ""
    fused: Fused = ""

    def sites(self) -> tuple[str, ...]:
        """The sites that these modules give."""
        return tuple(site for site in SITES if self.query or site not in ("query", "key", "value"))


BERT = BlockPaths(
    projection="attention.output.dense",
    mlp="output.dense",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
)
LLAMA = BlockPaths(
    projection="self_attn.o_proj",
    mlp="mlp",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
)
BART = replace(LLAMA, projection="self_attn.out_proj", mlp="fc2")
T5 = BlockPaths(
    projection="layer.0.SelfAttention.o",
    mlp="layer.1.DenseReluDense",
    query="layer.0.SelfAttention.q",
    key="layer.0.SelfAttention.k",
    value="layer.0.SelfAttention.v",
)

BLOCKS = {  # by what transformers calls the architecture
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta"), BERT),
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), LLAMA),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text", "gpt_oss", "olmo2", "smollm3"), LLAMA),
    **dict.fromkeys(("bart", "biogpt", "opt"), BART),
    **dict.fromkeys(("mt5", "t5"), T5),
    "albert": BlockPaths(
        projection="attention.dense",
        mlp="ffn_output",
        query="attention.query",
        key="attention.key",
        value="attention.value",
    ),
    "deberta": BlockPaths(projection="attention.output.dense", mlp="output.dense"),
    "deberta-v2": BlockPaths(
        projection="attention.output.dense",
        mlp="output.dense",
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
    ),
    "distilbert": BlockPaths(
        projection="attention.out_lin",
        mlp="ffn",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
    ),
    "falcon": BlockPaths(projection="self_attention.dense", mlp="mlp"),
    "gpt2": BlockPaths(
        projection="attn.c_proj",
        mlp="mlp",
        query="attn.c_attn",
        key="attn.c_attn",
        value="attn.c_attn",
        fused="side by side",
    ),
    "gpt_neox": BlockPaths(
        projection="attention.dense",
        mlp="mlp",
        query="attention.query_key_value",
        key="attention.query_key_value",
        value="attention.query_key_value",
        fused="head by head",
    ),
    "modernbert": BlockPaths(
        projection="attn.Wo",
        mlp="mlp",
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        fused="side by side",
    ),
    "phi": replace(LLAMA, projection="self_attn.dense"),
}


def sites_of(architecture: str) -> tuple[str, ...]:
    """The sites that can be kept of an architecture, in the order of the pass."""
    return BLOCKS[architecture].sites() if architecture in BLOCKS else ()


def sites_refusal(architecture: str, keep: Collection[str]) -> str:
    """Why some of `keep` cannot be kept of an architecture; empty where all can."""
    given = sites_of(architecture)
    missing = [site for site in SITES if site in keep and site not in given]
    if not missing:
        return ""
    instead = (
        f"of sites, only {', '.join(given)}" if given else "no site by name, only what each block hands on"
    )
    return f"{architecture} models do not give {', '.join(missing)}: {instead}"


def key_value_heads(config: Any, heads: int | None) -> int | None:
    """How many heads have keys and values of their own; attentions are those of all heads all the same."""
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        return 1  # Falcon
    grouped = getattr(config, "num_key_value_heads", None) or getattr(config, "num_kv_heads", None)
    return grouped if isinstance(grouped, int) else heads


def site_layouts(config: Any, keep: Collection[str], layers: Sequence[int]) -> tuple[SiteLayout, ...]:
    """The shapes of the sites in `keep`, by a model's config."""
    heads = int(config.num_attention_heads) if hasattr(config, "num_attention_heads") else 1
    of_head = (
        getattr(config, "head_dim", None) or getattr(config, "d_kv", None) or config.hidden_size // heads
    )
    whole = dict.fromkeys(SITES, (1, config.hidden_size))
    grouped = dict.fromkeys(("key", "value"), (key_value_heads(config, heads) or heads, of_head))
    shapes = whole | dict.fromkeys(PER_HEAD_SITES, (heads, of_head)) | grouped
    return tuple(
        SiteLayout(name=name, layers=tuple(layers), heads=shapes[name][0], dim=shapes[name][1])
        for name in SITES
        if name in keep
    )
