"""Losses that stand in for a model's own where the classes that matter are rare."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

# Outputs, targets -> the mean over the targets; what else the Trainer says of them is not needed.
Loss = Callable[..., torch.Tensor]


def loss_of_sets(positive_weight: float) -> Loss:
    """Binary cross-entropy of each class, where a class that is there weighs more (or less)."""

    def loss(outputs: Any, targets: torch.Tensor, **_: Any) -> torch.Tensor:
        logits = outputs.logits.float()
        weight = targets.new_tensor(positive_weight)
        return binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)

    return loss


def loss_of_classes(weights: Sequence[float]) -> Loss:
    """Cross-entropy, where each class has a weight of its own."""

    def loss(outputs: Any, targets: torch.Tensor, **_: Any) -> torch.Tensor:
        logits = outputs.logits.float()
        # torch's own mean would be over the weights: a batch of common classes would then weigh as much
        return cross_entropy(logits, targets, weight=logits.new_tensor(weights), reduction="none").mean()

    return loss
