"""The largest attention weights of each row, as `store/cache/attention_topk.py` describes them."""

from dataclasses import dataclass, field

import torch


@dataclass
class KeptMass:
    """How much of the rows of attention their largest weights are, by layer; sums stay on their device, so
    that nothing waits for them."""

    k: int = 0
    sums: dict[int, tuple[torch.Tensor, int]] = field(default_factory=dict)  # of masses, and how many rows

    def add(self, layer: int, mass: torch.Tensor) -> None:
        """Take in the masses of some rows."""
        total, count = self.sums.get(layer, (torch.zeros((), device=mass.device), 0))
        self.sums[layer] = total + mass.sum(dtype=torch.float64), count + mass.numel()

    def by_layer(self) -> dict[int, float]:
        """The mean mass of the rows of each layer."""
        return {layer: float(total) / count for layer, (total, count) in self.sums.items()}

    def __str__(self) -> str:
        masses = self.by_layer()
        mean, least = sum(masses.values()) / len(masses), min(masses, key=lambda layer: masses[layer])
        return (
            f"attention_topk {self.k}: {mean:.3f} of the mass of a row is kept on average, "
            f"{masses[least]:.3f} in layer {least}; a row that is read differs by at most "
            f"{2 * (1 - mean):.3f} on average (summed absolute difference)"
        )


def strongest(maps: torch.Tensor, k: int) -> torch.Tensor:
    """[batch, heads, S, S] -> int16 [batch, heads, S, 2 * k]."""
    weights, keys = maps.topk(min(k, maps.shape[-1]), dim=-1)
    missing = k - weights.shape[-1]
    if missing:
        weights, keys = (torch.nn.functional.pad(values, (0, missing)) for values in (weights, keys))
    return torch.cat([keys.to(torch.int16), weights.half().contiguous().view(torch.int16)], dim=-1)


def mass_of(rows: torch.Tensor) -> torch.Tensor:
    """The sum of the weights of each row of `strongest`, float32 [...]."""
    k = rows.shape[-1] // 2
    return rows[..., k:].contiguous().view(torch.float16).float().sum(-1)
