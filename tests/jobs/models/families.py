"""One tiny random model of every family, its config by class, no download; one tokenizer for all of them."""

import functools

import torch
import transformers

VOCABULARY = 300
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
WINDOW = GROUPED | {"head_dim": 4, "sliding_window": 4}  # shorter than the texts of the tests
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
DISENTANGLED = SIZES | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
ENCODER = SIZES | WITHOUT_DROPOUT

FAMILIES = {
    "bert": ENCODER,
    "roberta": ENCODER | {"pad_token_id": 1},
    "distilbert": {
        **{"vocab_size": VOCABULARY, "dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 32},
        **{"max_position_embeddings": 64},
    },
    "electra": ENCODER | {"embedding_size": 8},
    "deberta": DISENTANGLED,
    "deberta-v2": DISENTANGLED,
    "albert": ENCODER | {"embedding_size": 8},
    "modernbert": {
        **SIZES,
        **{"global_attn_every_n_layers": 2, "local_attention": 4},
        **{"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
    },
    "xlm-roberta": ENCODER | {"pad_token_id": 1},
    "t5": {
        **{"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 3, "num_heads": 4},
        **{"decoder_start_token_id": 0, "pad_token_id": 0},
    },
    "bart": {
        **{"vocab_size": VOCABULARY, "d_model": 16, "encoder_layers": 3, "decoder_layers": 1},
        **{"encoder_attention_heads": 4, "decoder_attention_heads": 2, "max_position_embeddings": 64},
        **{"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "pad_token_id": 0},
        **{"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2},
    },
    "gpt2": {
        **{"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 64},
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    },
    "gpt_neox": SIZES | {"bos_token_id": 1, "eos_token_id": 2},
    "opt": {k: v for k, v in SIZES.items() if k != "intermediate_size"}
    | {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "biogpt": ENCODER,
    "llama": GROUPED,
    "mistral": GROUPED | {"sliding_window": 4},
    "qwen2": GROUPED,
    "qwen3": GROUPED | {"head_dim": 4},
    "gemma2": WINDOW | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "gemma3_text": WINDOW | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "phi": SIZES,
    "falcon": SIZES | {"multi_query": True, "bos_token_id": 1, "eos_token_id": 2},
    "mixtral": GROUPED | {"num_local_experts": 4},
    "qwen2_moe": GROUPED | {"num_experts": 4, "moe_intermediate_size": 16},
    "mamba": {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 3, "state_size": 4}
    | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "gpt_oss": WINDOW
    | {"num_local_experts": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
}
ENCODER_DECODERS = {"t5", "bart"}
WITHOUT_ATTENTION = {"mamba"}
NOT_CAUSAL = {"bert", "roberta", "distilbert", "electra", "deberta", "deberta-v2", "albert", "modernbert"}
CAUSAL = set(FAMILIES) - NOT_CAUSAL - {"xlm-roberta"} - ENCODER_DECODERS


def make_family(kind, folder, tokenizer, auto=None, **changes):
    """Write a model of a family with large random weights, so that every layer matters; the folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        config = transformers.AutoConfig.for_model(kind, **FAMILIES[kind] | changes)
        model = (auto or _auto(kind)).from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_changed(folder, target, scale=0.02):
    """A copy of a model folder whose weights are moved at random; the folder."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model = _auto(config.model_type).from_pretrained(folder, dtype=torch.float32)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    return target


def _auto(kind):
    return transformers.AutoModelForCausalLM if kind in CAUSAL else transformers.AutoModel


@functools.cache
def tokenizer_of(folder):
    """BERT's tokenizer over the small vocabulary, its special tokens among the first ids."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 10**6
    tokenizer.bos_token, tokenizer.eos_token = "[CLS]", "[SEP]"
    return tokenizer
