"""What a job took of the device that it ran on, for its manifest; never part of an identity."""

import contextlib
import time
from typing import Any


class DeviceUse:
    """Begins when it is made, which is before a model is loaded."""

    def __init__(self) -> None:
        import torch

        self._began = time.monotonic()
        self._gpu = torch.cuda.is_available()
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()
        self._joules = _joules() if self._gpu else None

    def noted(self) -> dict[str, Any]:
        """Fields of a manifest's provenance.

        device          cuda or cpu
        device_seconds  for how long the job held it
        gpu             what the driver calls it, if it is one
        peak_memory     bytes that torch had reserved on the GPU at most
        energy_joules   of the whole GPU meanwhile, where NVML can be asked (pip install nvidia-ml-py)
        """
        import torch

        seconds = round(time.monotonic() - self._began, 3)
        if not self._gpu:
            return {"device": "cpu", "device_seconds": seconds}
        noted: dict[str, Any] = {
            "device": "cuda",
            "device_seconds": seconds,
            "gpu": torch.cuda.get_device_name(),
            "peak_memory": int(torch.cuda.max_memory_reserved()),
        }
        now = _joules()
        if now is not None and self._joules is not None:
            noted["energy_joules"] = round(now - self._joules, 1)
        return noted


def _joules() -> float | None:
    """What the GPU has used since its driver was loaded; None where NVML cannot tell."""
    with contextlib.suppress(Exception):  # not installed, another maker's GPU, or one that does not count
        import pynvml
        import torch

        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
        return (
            float(pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(uuid))) / 1000
        )
    return None
