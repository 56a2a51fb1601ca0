"""What is not finite is no result: weights, logits and scores are looked at before anything is kept."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from microtome.jobs.models.sharding import own_part
from microtome.store.errors import MicrotomeError


def check_weights(model: Any, when: str) -> None:
    """MicrotomeError in one line if a parameter or buffer of the model is not finite; `when` says of which
    moment."""
    parts = {name: own_part(value) for name, value in model.state_dict().items()}
    tensors = {name: value for name, value in parts.items() if value.is_floating_point()}
    wrong = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if wrong:
        value = tensors[wrong[0]]
        first = float(value[~torch.isfinite(value)].flatten()[0])
        raise MicrotomeError(
            f"{len(wrong)} of {len(tensors)} tensors are not finite {when}, the first of them {wrong[0]} "
            f"({first}); such weights are of no use, so nothing is kept"
        )


def check_scores(scores: Mapping[str, float], when: str) -> None:
    """MicrotomeError in one line if a score is not finite."""
    for name, value in scores.items():
        if not math.isfinite(value):
            raise MicrotomeError(f"the {name} {when} is {value}, which is no score; nothing is kept")


def check_logits(logits: Sequence[np.ndarray]) -> None:
    """MicrotomeError in one line if a model's answer is not finite: [classes] or [tokens, classes] each."""
    for number, values in enumerate(logits):
        if not np.isfinite(values).all():
            first = values[~np.isfinite(values)].flat[0]
            raise MicrotomeError(
                f"the model answers example {number + 1} of {len(logits)} with {first}: its weights, or what "
                "they make of this text, are beyond what numbers can hold"
            )
