"""Language modelling: masks, batches, and the scores of a model on held-out text."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from microtome.jobs.models import loading
from microtome.jobs.models.batching import length_sorted_batches, padded
from microtome.jobs.models.precision import autocast
from microtome.jobs.models.sharding import without_gradients
from microtome.jobs.models.training import IGNORED
from microtome.jobs.training_settings import Precision
from microtome.store.errors import InputError, MicrotomeError

AUTO = {"mlm": AutoModelForMaskedLM, "clm": AutoModelForCausalLM}
PERPLEXITY = {"mlm": "masked_perplexity", "clm": "perplexity"}  # the names of their metrics
EVALUATION_LOGITS = 64 << 20  # numbers per batch: tokens times vocabulary

Row = tuple[list[int], list[int]]  # ids, targets


def check_objective(objective: str, folder: Path, tokenizer: Any) -> None:
    """InputError unless the model has the objective's head and tokens."""
    config = loading.load_config(folder)
    causal = loading.is_causal(config)
    if (objective == "clm") != causal or (objective == "mlm" and tokenizer.mask_token_id is None):
        other = "clm" if causal else "mlm"
        raise InputError(f"objective {objective} does not suit a {config.model_type}; say objective: {other}")


def questions(
    blocks: Sequence[list[int]], objective: str, tokenizer: Any, share: float, rng: np.random.Generator
) -> list[Row]:
    """What a model is asked about blocks: for clm every next token, for mlm masked ones, drawn once."""
    if objective == "clm":
        return [(block, block) for block in blocks]
    return [masked(block, tokenizer, share, rng) for block in blocks]


def masked(block: Sequence[int], tokenizer: Any, share: float, rng: np.random.Generator) -> Row:
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


def evaluate(
    model: Any, rows: Sequence[Row], objective: str, pad_token_id: int, precision: Precision = "auto"
) -> dict[str, float]:
    """Mean loss per predicted token in nats, its perplexity, and the share predicted right.

    The perplexity of masked tokens is another thing than that of every next token, and has another name.

    `rows` are (ids, targets); a causal model's targets are its ids, shifted here by one.
    """
    device = next(model.parameters()).device
    model.eval()
    loss, right, count = 0.0, 0, 0
    tokens = max(1, EVALUATION_LOGITS // model.config.vocab_size)
    for indices in length_sorted_batches([len(ids) for ids, _ in rows], tokens):
        batch = _batch([rows[i] for i in indices], pad_token_id)
        targets = batch.pop("labels").to(device)
        with without_gradients(model), autocast(precision, device):
            logits = model(**{k: v.to(device) for k, v in batch.items()}).logits
        if objective == "clm":
            logits, targets = logits[:, :-1], targets[:, 1:]
        counted = targets != IGNORED
        logits, targets = logits[counted].float(), targets[counted]
        loss += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(-1) == targets).sum())
        count += len(targets)
    mean = loss / max(1, count)
    if not math.isfinite(mean):
        raise MicrotomeError(f"the loss on held-out text is {mean}: the model's weights are of no use")
    return {
        "loss": mean,
        PERPLEXITY[objective]: math.exp(min(mean, 700)),
        "token_accuracy": right / max(1, count),
    }


class Features(Sequence[dict[str, Any]]):
    """Blocks as the Trainer takes them, with their numbers."""

    def __init__(self, blocks: Sequence[list[int]]) -> None:
        self._blocks = blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, index: Any) -> Any:
        return {"input_ids": self._blocks[index], "block": index}


def collator(objective: str, tokenizer: Any, share: float, seed: int) -> Any:
    """What makes batches of features."""
    if objective == "clm":
        return CausalCollator(tokenizer.pad_token_id)
    return MaskingCollator(tokenizer, share, seed)


class MaskingCollator:
    """Masks a block anew in every `epoch`, by seed, epoch and the number of the block alone: training that
    goes on in the middle of an epoch sees what it would have seen."""

    def __init__(self, tokenizer: Any, share: float, seed: int) -> None:
        self.tokenizer = tokenizer
        self.share = share
        self.seed = seed
        self.epoch = 0

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rngs = [np.random.default_rng([self.seed, self.epoch, f["block"]]) for f in features]
        rows = [
            masked(f["input_ids"], self.tokenizer, self.share, rng)
            for f, rng in zip(features, rngs, strict=True)
        ]
        return _batch(rows, self.tokenizer.pad_token_id)


class CausalCollator:
    """Targets are the ids themselves; the model shifts them, and asks nobody for the first."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [(f["input_ids"], [IGNORED, *f["input_ids"][1:]]) for f in features]
        return _batch(rows, self.pad_token_id)


def _batch(rows: Sequence[Row], pad_token_id: int) -> dict[str, torch.Tensor]:
    batch = padded([ids for ids, _ in rows], None, pad_token_id)
    longest = batch["input_ids"].shape[1]
    batch["labels"] = torch.tensor([targets + [IGNORED] * (longest - len(targets)) for _, targets in rows])
    return batch
