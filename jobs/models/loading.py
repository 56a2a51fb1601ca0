"""Loading: classes from the checkpoint's own architecture, safetensors only, no remote code."""

import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from microtome.jobs.models.architecture import Architecture, architecture_of
from microtome.jobs.models.placement import DeviceMap, load_spread, on_device
from microtome.jobs.models.registry import MODELS
from microtome.store.cache.layout import PER_HEAD_SITES
from microtome.store.errors import InputError

# What a config has to say of what is extracted: one number for all layers.
SHAPE = {
    "hidden": ("num_hidden_layers", "hidden_size"),
    "attention": ("num_attention_heads",),
    **dict.fromkeys(PER_HEAD_SITES, ("num_attention_heads",)),
}
SAFE = {"local_files_only": True, "trust_remote_code": False}


def quiet() -> None:
    """Keep the loader's reports and bars off the screen; a job's log says what matters."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def load_tokenizer(folder: Path, name: str = "") -> Any:
    """The checkpoint's own tokenizer, with a pad token: its end-of-text token where it has none.

    `name` is the short name it was asked for by, for what the repository's files leave out.
    """
    entry = MODELS.get(name.partition("@")[0])  # whichever revision of it
    options = entry.tokenizer if entry is not None else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **SAFE, **options)
    except Exception as error:  # files that are damaged can make these libraries raise anything
        raise InputError(f"{folder}: cannot load the tokenizer ({_first_line(error)})") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_config(folder: Path) -> Any:
    """The checkpoint's configuration."""
    try:
        return AutoConfig.from_pretrained(folder, **SAFE)
    except Exception as error:
        raise InputError(f"{folder}: cannot read config.json ({_first_line(error)})") from None


def load_backbone(
    folder: Path,
    device: torch.device,
    *,
    attentions: bool = True,
    compute: str = "float32",
    device_map: DeviceMap = "one",
) -> Any:
    """The model without a head, in evaluation mode; of an encoder and a decoder, the encoder.

    It is on `device`, or where `device_map` spreads it. `compute` is the dtype of weights and activations.
    With `attentions` they can be read; without, they are never made where transformers has a kernel that does
    without them (scaled dot product attention).
    """
    options = {"attn_implementation": "eager"} if attentions else {}
    dtype = getattr(torch, compute)
    model = load_spread(functools.partial(load, AutoModel, folder, dtype, **options), device_map)
    places = getattr(model, "hf_device_map", None)
    model.config.use_cache = False  # keys and values of all layers, for which nothing here asks
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
        if places is not None:
            model.hf_device_map = places
    return on_device(model, device).eval()


def load_language_model(
    folder: Path, auto: Any, pad_token_id: int, *, device_map: DeviceMap = "one", **options: Any
) -> tuple[Any, list[str]]:
    """The model with its language-modelling head, and the parameters that the checkpoint lacks, which were
    drawn by torch's seed; `auto` is the masked or the causal auto class, `options` are those of `load`."""
    options |= {"pad_token_id": pad_token_id, "output_loading_info": True}
    loader = functools.partial(load, auto, folder, **options)
    model, info = load_spread(loader, device_map)
    return model, sorted(info["missing_keys"])


def is_causal(config: Any) -> bool:
    """Whether tokens see only what is before them: architectures made for causal language models."""
    kind = config.model_type
    if config.is_encoder_decoder:  # of which the encoder is used
        return False
    if getattr(config, "use_bidirectional_attention", None) is True:  # Gemma 3 made into an embedding model
        return False
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def max_positions(config: Any) -> int | None:
    """The longest sequence the architecture has positions for."""
    return architecture_of(config.to_dict()).positions


def check_usable(config: Any, length: int, keep: Collection[str] = ("hidden",)) -> None:
    """InputError if a model cannot be extracted or fine-tuned on sequences of a length, or if these of its
    activations cannot be kept."""
    _refuse(architecture_of(config.to_dict()).refusal(keep=keep, length=length))
    for name in (field for array in keep for field in SHAPE.get(array, ())):
        if not isinstance(getattr(config, name, None), int):
            _refuse(
                f"{config.model_type} models cannot be used: their config has no {name}, one for all layers"
            )


def check_length(config: Any, length: int, what: str) -> None:
    """InputError if `length`, an option named `what`, exceeds the positions of the model."""
    positions = Architecture(config.model_type, max_positions(config))
    _refuse(positions.refusal(length=length, length_named=what))


def _refuse(why: str) -> None:
    if why:
        raise InputError(why)


def best_device() -> torch.device:
    """The first GPU that this process sees, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(auto: Any, folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """The model of a class from a folder, safetensors weights only; InputError if it cannot be loaded."""
    quiet()
    try:
        return auto.from_pretrained(folder, use_safetensors=True, dtype=dtype, **SAFE, **options)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise InputError(f"{folder}: cannot load the model ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
