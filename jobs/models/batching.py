"""Batches of similar length, padded no further than their longest sequence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def length_sorted_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices cut into batches, longest first, each at most `batch_tokens` tokens with its padding.

    Longest first, so that a batch that does not fit into memory fails at once and not after an hour.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    batches: list[list[int]] = []
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def padded(
    sequences: Sequence[Sequence[int]], segments: Sequence[Sequence[int]] | None, pad_token_id: int
) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and, if `segments` are given, token_type_ids: int64 [batch, longest]."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_token_id)
    mask = torch.zeros_like(ids)
    batch = {"input_ids": ids, "attention_mask": mask}
    if segments is not None:
        batch["token_type_ids"] = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
        if segments is not None:
            batch["token_type_ids"][row, : len(sequence)] = torch.tensor(segments[row])
    return batch


def takes_segments(model: Any, tokenizer: Any) -> bool:
    """Whether the model tells first from second text by token type (GPT-2 would add a word vector)."""
    return "token_type_ids" in tokenizer.model_input_names and getattr(model.config, "type_vocab_size", 0) > 1
