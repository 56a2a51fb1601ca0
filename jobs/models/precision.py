"""In which dtype matrices are multiplied."""

import torch

from microtome.jobs.training_settings import Precision


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of matrix products under `precision`."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Computes in the dtype of `precision`; does nothing where that is float32."""
    dtype = compute_dtype(precision, device)
    half = dtype is not torch.float32
    return torch.autocast(device.type, dtype if half else torch.bfloat16, enabled=half)
