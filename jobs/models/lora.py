"""Low-rank adapters (LoRA, Hu et al. 2021) through peft: put on a model, kept small, merged when loaded."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from microtome.store.config import Config
from microtome.store.errors import InputError
from microtome.store.files.removal import remove

# The projections of queries and values, as architectures that peft has no default for call them; at the end,
# what takes their place in state space models.
QUERY_AND_VALUE = (
    *(("q_proj", "v_proj"), ("q_lin", "v_lin"), ("query", "value"), ("Wqkv",), ("c_attn",)),
    *(("in_proj", "x_proj"), ("in_proj",)),
)
TASKS = {"clm": "CAUSAL_LM"}  # as peft calls objectives; masked language modelling has no name


class Lora(Config):
    """A low-rank adapter (Hu et al. 2021): the base stays as it is, and the product of two small matrices is
    added to some of its weights."""

    rank: int = Field(8, ge=1, description="of the added matrices")
    alpha: float = Field(16, gt=0, description="the product is scaled by alpha / rank")
    base: Literal["float32", "bfloat16", "8bit", "4bit"] = Field(
        "float32",
        description="dtype of the weights that stay as they are, in training: bfloat16 takes half the "
        "memory, 8bit a quarter and 4bit an eighth, both on a GPU with bitsandbytes (microtome[quantised])",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of what goes into the adapter, in training")
    targets: tuple[str, ...] = Field(
        (),
        json_schema_extra={"any_order": True},
        description="names of modules; by default queries and values, as the architecture calls them",
    )


def attach(model: Any, lora: Lora, objective: str, untrained: Sequence[str] = ()) -> Any:
    """The model with an adapter, the only part of it that is trained, but for layers of which parameters are
    `untrained`: a head that the checkpoint lacks is trained, and kept, whole. Drawn by torch's seed. What is
    trained is in float32, whatever the rest is in."""
    from peft import LoraConfig, get_peft_model

    from microtome.jobs.models.quantised import prepared_for_training

    model = prepared_for_training(model)
    targets = list(lora.targets or _targets(model))
    names = [name for name, _ in model.named_modules()]
    for target in targets:
        if not any(name.rpartition(".")[2] == target for name in names):
            with_weights = sorted(
                {n.rpartition(".")[2] for n, m in model.named_modules() if hasattr(m, "weight")}
            )
            raise InputError(
                f"lora.targets: no module '{target}' in this {model.config.model_type} "
                f"(modules with weights: {', '.join(with_weights)})"
            )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type=TASKS.get(objective),
        modules_to_save=_layers(model, untrained) or None,
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def _layers(model: Any, parameters: Sequence[str]) -> list[str]:
    """The modules without modules of their own that hold these parameters; not an output layer that is tied
    to the embeddings, which are there."""
    names = sorted({name.rpartition(".")[0] for name in parameters})
    modules = dict(model.named_modules())
    tied = model.get_input_embeddings().weight
    return [
        name
        for name in names
        if name in modules
        and not any(modules[name].children())
        and not any(parameter is tied for parameter in modules[name].parameters())
    ]


def trainable(model: Any) -> tuple[int, int]:
    """(parameters that are trained, all parameters)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, on in sizes if on), sum(size for size, _ in sizes)


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapter and the config of its base; no weight of the base, and no path to it."""
    model.save_pretrained(folder)
    described = folder / "adapter_config.json"
    values = json.loads(described.read_text("utf-8")) | {"base_model_name_or_path": None}
    described.write_text(json.dumps(values, indent=2, sort_keys=True, allow_nan=False), "utf-8")
    remove(folder / "README.md", inside=folder)  # peft's template of a model card
    model.get_base_model().config.save_pretrained(folder)


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write the plain model of a base and its adapter to `out`, with the adapter's tokenizer; another
    process that does the same at the same time does no harm."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    from microtome.jobs.models import loading
    from microtome.jobs.models.finite import check_weights

    auto = AutoModelForCausalLM if loading.is_causal(loading.load_config(base)) else AutoModelForMaskedLM
    tokenizer = loading.load_tokenizer(adapter)
    model, _ = loading.load_language_model(base, auto, tokenizer.pad_token_id)
    merged = PeftModel.from_pretrained(model, str(adapter), torch_device="cpu").merge_and_unload()
    check_weights(merged, "with the adapter merged into them")
    staged = Path(tempfile.mkdtemp(dir=out.parent))
    merged.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    try:
        staged.rename(out)
    except OSError:
        remove(staged, inside=out.parent)
        if not out.is_dir():
            raise


def _targets(model: Any) -> list[str]:
    """peft's own choice for the architecture, or the names under which its queries and values go."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    default = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model.config.model_type)
    if default is not None:
        return list(default)
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    for names in QUERY_AND_VALUE:
        if present.issuperset(names):
            return list(names)
    raise InputError(f"no queries and values found in a {model.config.model_type}; name lora.targets")
