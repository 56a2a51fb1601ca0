"""GPUs that can be rented: what their makers say of memory and of peak speed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """Peak figures, dense (without sparsity). `half_tflops` is of matrix products in bfloat16, or in float16
    where there is none; `single_tflops` of float32 outside tensor cores, which is what torch uses unless told
    otherwise. `bandwidth_gb` is what its memory delivers in a second. `names` are parts of what the driver
    calls it."""

    memory_gb: float
    half_tflops: float
    single_tflops: float
    bandwidth_gb: float
    names: tuple[str, ...]
    source: str


GPUS = {
    "h200": Gpu(141, 989, 67, 4800, ("H200",), "NVIDIA H200 datasheet, SXM"),
    "h100": Gpu(80, 989, 67, 3350, ("H100 80GB HBM3", "H100 SXM"), "NVIDIA H100 datasheet, SXM"),
    "h100-pcie": Gpu(80, 756, 51, 2000, ("H100 PCIe",), "NVIDIA H100 datasheet, PCIe"),
    "a100": Gpu(80, 312, 19.5, 2039, ("A100-SXM4-80GB", "A100 80GB"), "NVIDIA A100 datasheet, 80 GB"),
    "a100-40gb": Gpu(
        40, 312, 19.5, 1555, ("A100-SXM4-40GB", "A100-PCIE-40GB"), "NVIDIA A100 datasheet, 40 GB"
    ),
    "l40s": Gpu(48, 362, 91.6, 864, ("L40S",), "NVIDIA L40S datasheet"),
    "l4": Gpu(24, 121, 30.3, 300, ("NVIDIA L4",), "NVIDIA L4 datasheet"),
    "a10": Gpu(24, 125, 31.2, 600, ("NVIDIA A10",), "NVIDIA A10 datasheet"),
    "v100": Gpu(32, 125, 15.7, 900, ("V100",), "NVIDIA V100 datasheet, SXM2, 32 GB; half is float16"),
    "t4": Gpu(16, 65, 8.1, 300, ("T4",), "NVIDIA T4 datasheet; half is float16"),
}


def gpu_of_driver(name: str) -> Gpu | None:
    """The GPU of the table that the driver calls so; None if it is none of them."""
    whole = [gpu for gpu in GPUS.values() if name in gpu.names]
    parts = [gpu for gpu in GPUS.values() if any(part in name for part in gpu.names)]
    return next(iter(whole + parts), None)
