"""Values of a pass into the numbers that lie on disk, and how far that moves them."""

from dataclasses import dataclass, field

import numpy as np
import torch

from microtome.store.cache.numbers import LARGEST


@dataclass
class RoundingErrors:
    """Sums of squares of what rounding to int8 adds and of the values themselves, by array and layer; they
    stay on the device that they were computed on, so that nothing waits for them."""

    squares: dict[tuple[str, int], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def add(self, where: tuple[str, int], error: torch.Tensor, values: torch.Tensor) -> None:
        """Take in the rows of a batch."""
        before = self.squares.get(where, (torch.zeros((), device=values.device),) * 2)
        added = error.square().sum(dtype=torch.float64), values.square().sum(dtype=torch.float64)
        self.squares[where] = before[0] + added[0], before[1] + added[1]

    def relative(self) -> dict[tuple[str, int], float]:
        """By array and layer, the root mean square of the errors over that of the values."""
        return {
            where: float((error / values.clamp(min=1e-30)).sqrt())
            for where, (error, values) in self.squares.items()
        }

    def __str__(self) -> str:
        shares = self.relative()
        name, layer = max(shares, key=lambda where: shares[where])
        mean = sum(shares.values()) / len(shares)
        return (
            f"int8: rounding errors are {mean:.2%} of the values (root mean squares), at most "
            f"{shares[name, layer]:.2%} in a layer ({name} of layer {layer})"
        )


def as_torch(values: np.ndarray, dtype: str) -> torch.Tensor:
    """Stored numbers as the tensor that values are put into; it shares their memory."""
    if values.dtype == np.uint16 and dtype != "bfloat16":  # torch computes with signed numbers only
        return torch.from_numpy(values.view(np.int16))
    if dtype == "bfloat16":
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def put_rows(
    part: torch.Tensor,
    place: slice | torch.Tensor,
    values: torch.Tensor,
    where: tuple[str, int],
    errors: RoundingErrors,
) -> None:
    """Put [rows, d] into a layer of a part, rounded to its dtype; `where` is the array and the layer."""
    if part.dtype == torch.int8:
        rounded, error = quantised(values.float())
        errors.add(where, error, values.float())
        values = rounded
    if isinstance(place, slice):
        part[place] = values
    else:
        part.index_copy_(0, place, values.to(part.dtype))


def quantised(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 [rows, d] as int8 [rows, d + 4], as `store/cache/numbers.py` describes it, and the errors."""
    scale = values.abs().amax(-1, keepdim=True) / LARGEST
    steps = torch.where(scale > 0, values / scale, 0).round().nan_to_num()
    error = steps * scale - values
    return torch.cat([steps.to(torch.int8), scale.view(torch.int8)], dim=-1), error
