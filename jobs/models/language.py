"""Language modelling: documents to blocks, masks, and the scores of a model on held-out text."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from jobs.data.encoding import special_tokens
from jobs.models.batching import length_sorted_batches, padded

IGNORED = -100
AUTO = {"mlm": AutoModelForMaskedLM, "clm": AutoModelForCausalLM}
EVALUATION_TOKENS = 8192


def blocks(tokenizer: Any, documents: Sequence[str], size: int) -> list[list[int]]:
    """Token ids in blocks of at most `size`; no block holds parts of two documents.

    Every block gets the special tokens that the tokenizer puts around a text. A last piece of one token,
    which nothing can be predicted from, is left out.
    """
    before, after = special_tokens(tokenizer)
    room = size - len(before) - len(after)
    found = []
    for document in documents:
        ids = tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        for start in range(0, len(ids), room):
            piece = ids[start : start + room]
            if len(piece) > 1:
                found.append([*before, *piece, *after])
    return found


def masked(
    block: Sequence[int], tokenizer: Any, share: float, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """BERT's masking of a block: (ids, targets). Of the chosen tokens 80 % are masked, 10 % random."""
    ids, targets = list(block), [IGNORED] * len(block)
    special = set(tokenizer.all_special_ids)
    usable = [i for i, token in enumerate(block) if token not in special]
    count = max(1, round(share * len(usable))) if usable else 0
    for position in rng.permutation(usable).astype(int)[:count].tolist():
        targets[position] = ids[position]
        draw = rng.random()
        if draw < 0.8:
            ids[position] = tokenizer.mask_token_id
        elif draw < 0.9:
            ids[position] = int(rng.integers(len(tokenizer)))
    return ids, targets


@torch.inference_mode()
def evaluate(
    model: Any, rows: Sequence[tuple[list[int], list[int]]], *, causal: bool, pad_token_id: int
) -> dict[str, float]:
    """Mean loss per predicted token in nats, its perplexity, and the share predicted right.

    `rows` are (ids, targets); a causal model's targets are its ids, shifted here by one.
    """
    device = next(model.parameters()).device
    model.eval()
    loss, right, count = 0.0, 0, 0
    for indices in length_sorted_batches([len(ids) for ids, _ in rows], EVALUATION_TOKENS):
        batch = padded([rows[i][0] for i in indices], None, pad_token_id)
        targets = torch.full_like(batch["input_ids"], IGNORED)
        for row, index in enumerate(indices):
            targets[row, : len(rows[index][1])] = torch.tensor(rows[index][1])
        logits = model(**{k: v.to(device) for k, v in batch.items()}).logits.float().cpu()
        if causal:
            logits, targets = logits[:, :-1], targets[:, 1:]
        flat, wanted = logits.flatten(0, 1), targets.flatten()
        loss += float(torch.nn.functional.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum"))
        right += int((flat.argmax(-1) == wanted).sum())
        count += int((wanted != IGNORED).sum())
    mean = loss / max(1, count)
    return {"loss": mean, "perplexity": math.exp(min(mean, 700)), "token_accuracy": right / max(1, count)}


class MaskingCollator:
    """Fresh masks for every batch, from torch's seed (which the Trainer sets and saves)."""

    def __init__(self, tokenizer: Any, share: float) -> None:
        self.tokenizer = tokenizer
        self.share = share

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        rows = [masked(f["input_ids"], self.tokenizer, self.share, rng) for f in features]
        return _batch(rows, self.tokenizer.pad_token_id)


class CausalCollator:
    """Targets are the ids themselves; the model shifts them."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return _batch([(f["input_ids"], f["input_ids"]) for f in features], self.pad_token_id)


def _batch(rows: Sequence[tuple[list[int], list[int]]], pad_token_id: int) -> dict[str, torch.Tensor]:
    batch = padded([ids for ids, _ in rows], None, pad_token_id)
    longest = batch["input_ids"].shape[1]
    batch["labels"] = torch.tensor([targets + [IGNORED] * (longest - len(targets)) for _, targets in rows])
    return batch
