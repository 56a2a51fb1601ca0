"""Losses that stand in for a model's own where the classes that matter are rare."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

# Outputs, targets, and how many targets there are in all micro-batches of a step: so that the gradient does
# not depend on how a step is cut into them.
Loss = Callable[..., torch.Tensor]


def loss_of_sets(positive_weight: float) -> Loss:
    """Binary cross-entropy of each class, where a class that is there weighs more (or less)."""

    def loss(outputs: Any, targets: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        total = binary_cross_entropy_with_logits(
            outputs.logits.float(), targets, reduction="sum", pos_weight=targets.new_tensor(positive_weight)
        )
        return total / (targets.numel() if num_items_in_batch is None else num_items_in_batch)

    return loss


def loss_of_classes(weights: Sequence[float]) -> Loss:
    """Cross-entropy, where each class has a weight of its own."""

    def loss(outputs: Any, targets: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs.logits.float()
        total = cross_entropy(logits, targets, weight=logits.new_tensor(weights), reduction="sum")
        return total / (targets.numel() if num_items_in_batch is None else num_items_in_batch)

    return loss
