"""Where a model's weights are: on one device, or on as many as it takes."""

import tempfile
import weakref
from collections.abc import Callable
from typing import Any, Literal

DeviceMap = Literal["one", "auto"]
ABOUT_DEVICE_MAP = (
    "one: the model is on one GPU; auto: its layers are spread over all GPUs that the job has, and over main "
    "memory and disk where these do not do"
)


def memory_limits() -> dict[int | str, int] | None:
    """Bytes of weights for each device; None leaves it to accelerate, which asks the devices."""
    return None


def load_spread(load: Callable[..., Any], device_map: DeviceMap) -> Any:
    """What `load` returns; for a model that is spread it gets what transformers' from_pretrained needs."""
    if device_map == "one":
        return load()
    # Weights that are left on disk are read from the checkpoint, or from here if they change their dtype.
    folder = tempfile.TemporaryDirectory(prefix="microtome-weights-")
    loaded = load(device_map=_device_map(load), max_memory=memory_limits(), offload_folder=folder.name)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    weakref.finalize(model, folder.cleanup)
    return loaded


def _device_map(load: Callable[..., Any]) -> str | dict[str, int | str]:
    """Where each module goes, as accelerate decides, but what the checkpoint lacks (the pooler of a BERT that
    was saved without one) stays in main memory: on disk there is no file to read it from."""
    outline, info = load(device_map="meta", output_loading_info=True)  # names and shapes, no weights
    if not info["missing_keys"]:
        return "auto"
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    blocks = list(getattr(outline, "_no_split_modules", None) or ())
    memory = get_balanced_memory(outline, max_memory=memory_limits(), no_split_module_classes=blocks)
    device_map = dict(infer_auto_device_map(outline, max_memory=memory, no_split_module_classes=blocks))
    for name in info["missing_keys"]:
        _keep_in_memory(name, outline, device_map)
    return device_map


def _keep_in_memory(name: str, model: Any, device_map: dict[str, int | str]) -> None:
    """Move a parameter from disk to main memory; a module that was to go to disk as one is taken apart as far
    as that needs."""
    place = max((key for key in device_map if _is_within(name, key)), key=len, default=None)
    if place is None or device_map[place] != "disk":
        return
    while place not in (name, name.rpartition(".")[0]):
        module, prefix = model.get_submodule(place), f"{place}." if place else ""
        del device_map[place]
        parts = [part for part, _ in module.named_children()]
        parts += [part for part, _ in module.named_parameters(recurse=False)]
        device_map.update({f"{prefix}{part}": "disk" for part in parts})
        place = next(f"{prefix}{part}" for part in parts if _is_within(name, f"{prefix}{part}"))
    device_map[place] = "cpu"


def _is_within(name: str, module: str) -> bool:
    return module in ("", name) or name.startswith(f"{module}.")


def on_device(model: Any, device: Any) -> Any:
    """The model on a device; one that is spread, or sharded between processes, stays where it is."""
    from microtome.jobs.models.sharding import is_sharded  # torch, which planning does without

    return model if is_spread(model) or is_sharded(model) else model.to(device)


def is_spread(model: Any) -> bool:
    """Whether a model was loaded over several devices, between which accelerate moves what it computes."""
    return getattr(model, "hf_device_map", None) is not None


def input_device(model: Any) -> Any:
    """Where a model takes its inputs: its first GPU, or else where it computes."""
    import torch

    if not is_spread(model):
        return next(model.parameters()).device
    gpus = [place for place in model.hf_device_map.values() if str(place) not in ("cpu", "disk", "meta")]
    return torch.device(gpus[0] if gpus else "cpu")
