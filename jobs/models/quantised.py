"""Bases of adapters in 8 or 4 bits, by bitsandbytes and on GPUs alone: LLM.int8 (Dettmers et al. 2022) and
the 4-bit NormalFloat of QLoRA (Dettmers et al. 2023)."""

import importlib.util
from typing import Any

import torch

from microtome.jobs.models.loading import best_device
from microtome.jobs.models.precision import compute_dtype
from microtome.jobs.training_settings import Precision
from microtome.store.errors import InputError, MissingError

QUANTISED = ("8bit", "4bit")  # of the values that `lora.base` takes


def refuse_where_it_cannot_be(base: str) -> None:
    """InputError without a GPU, MissingError without the package, where a base is to be quantised."""
    if base not in QUANTISED:
        return
    if best_device().type != "cuda":
        raise InputError(
            f"lora.base: {base} needs a GPU, and this machine has none; set lora.base: bfloat16 or float32"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingError(
            f"lora.base: {base} needs a package: pip install -c constraints.txt '.[quantised]'; or set "
            "lora.base: bfloat16"
        )


def loading_options(base: str, precision: Precision) -> dict[str, Any]:
    """What transformers' from_pretrained takes to load a base in its dtype, quantised or not."""
    if base not in QUANTISED:
        return {"dtype": getattr(torch, base)}
    from transformers import BitsAndBytesConfig

    computed = compute_dtype(precision, best_device())
    if base == "8bit":
        return {"dtype": computed, "quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    in_4_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=computed,
    )
    return {"dtype": computed, "quantization_config": in_4_bits}


def is_quantised(model: Any) -> bool:
    """Whether weights of a model are in 8 or 4 bits; it is on the GPU then, and stays there."""
    return bool(getattr(model, "is_quantized", False))


def prepared_for_training(model: Any) -> Any:
    """A quantised model with what is not quantised in float32, as peft wants it; another as it is."""
    if not is_quantised(model):
        return model
    from peft import prepare_model_for_kbit_training

    # `gradient_checkpointing` of the training says whether blocks are computed twice.
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
