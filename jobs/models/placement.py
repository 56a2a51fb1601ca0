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
    loaded = load(device_map="auto", max_memory=memory_limits(), offload_folder=folder.name)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    weakref.finalize(model, folder.cleanup)
    return loaded


def on_device(model: Any, device: Any) -> Any:
    """The model on a device; one that is spread stays where it is."""
    return model if is_spread(model) else model.to(device)


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
