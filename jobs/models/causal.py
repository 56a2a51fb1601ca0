"""A causal language model as it stands, without a head: it goes on writing, and says how likely a text is."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from microtome.jobs.data.encoding import special_tokens
from microtome.jobs.models import language, loading
from microtome.jobs.models.architecture import UNLIMITED
from microtome.jobs.models.placement import DeviceMap, input_device, on_device
from microtome.store.errors import InputError, MicrotomeError

Warper = Callable[[Any, Any], Any]  # ids so far, scores [prompts, vocabulary] -> scores


@dataclass(frozen=True)
class CausalModel:
    """A causal model, its tokenizer, what that puts before a text, and how many positions there are."""

    model: Any
    tokenizer: Any
    before: list[int]
    positions: int

    def started(self, ids: Sequence[int]) -> list[int]:
        """`ids` behind what begins a text; never empty."""
        begin = self.tokenizer.bos_token_id
        return [*self.before, *ids] or [self.tokenizer.eos_token_id if begin is None else begin]

    def left_padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Ids and attention mask, int64 [sequences, longest], padded on the left, on the model's device."""
        longest = max(map(len, sequences))
        ids = torch.full((len(sequences), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, longest - len(sequence) :] = torch.tensor(sequence)
            mask[row, longest - len(sequence) :] = 1
        device = input_device(self.model)
        return ids.to(device), mask.to(device)


def load(folder: Path, name: str = "", device_map: DeviceMap = "one") -> CausalModel:
    """The model of a folder, in evaluation mode on the best device, or where `device_map` spreads it; `name`
    is the name in messages.

    Raises InputError for a model that is not causal or has no language-modelling head.
    """
    config = loading.load_config(folder)
    if not loading.is_causal(config):
        raise InputError(
            f"{name or folder} ({config.model_type}) is no causal language model: it cannot continue a text"
        )
    tokenizer = loading.load_tokenizer(folder, name)
    model, untrained = loading.load_language_model(
        folder, language.AUTO["clm"], tokenizer.pad_token_id, device_map=device_map
    )
    if untrained:
        raise InputError(f"{name or folder} has no language-modelling head ({untrained[0]}); it cannot write")
    before, _ = special_tokens(tokenizer)
    positions = loading.max_positions(config) or UNLIMITED
    return CausalModel(on_device(model, loading.best_device()).eval(), tokenizer, before, positions)


def longest_first(lengths: Sequence[int], size: int) -> Iterable[list[int]]:
    """Batches of at most `size` indices, longest first, so that there is little padding."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return (order[start : start + size] for start in range(0, len(order), size))


def continued(
    causal: CausalModel,
    prompts: Sequence[list[int]],
    draws: np.ndarray,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    repetition_penalty: float,
) -> list[list[int]]:
    """The new tokens of each prompt up to its end of text, in one batch.

    `draws` in [0, 1), float64 [prompts, new tokens], are all the randomness there is. Temperature 0 takes the
    likeliest token; top_k 0 and top_p 1 leave all tokens; the penalty is that of Keskar et al. 2019 (CTRL).
    """
    ids, mask = causal.left_padded(prompts)
    own = causal.model.generation_config.eos_token_id
    ends = own if own is not None else causal.tokenizer.eos_token_id
    settings = GenerationConfig(
        max_new_tokens=draws.shape[1],
        do_sample=False,  # `choose` draws, and leaves one token to take
        num_beams=1,
        repetition_penalty=1.0,  # transformers' own would count the padding as text
        eos_token_id=ends,
        pad_token_id=causal.tokenizer.pad_token_id,
    )
    warpers = _warpers(temperature, top_k, top_p)
    choose = _chooser(warpers, repetition_penalty, mask, torch.from_numpy(draws).to(mask.device))
    with torch.inference_mode():
        whole = causal.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([choose]),
        )
    stop = set(np.atleast_1d(ends).tolist()) if ends is not None else set()
    new = whole[:, ids.shape[1] :].tolist()
    return [list(itertools.takewhile(lambda token: token not in stop, row)) for row in new]


def log_likelihoods(
    causal: CausalModel,
    prompts: Sequence[list[int]],
    choices: Sequence[list[int]],
    batch_size: int,
    log_progress: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """float64 [prompts, choices]: log p(choice | prompt) in nats, the sum over the tokens of the choice."""
    likelihoods = np.empty((len(prompts), len(choices)))
    done = 0
    for batch in longest_first([len(p) for p in prompts], batch_size):
        with torch.inference_mode():
            likelihoods[batch] = _of_batch(causal, [prompts[i] for i in batch], choices).cpu().numpy()
        if not np.isfinite(likelihoods[batch]).all():
            raise MicrotomeError(
                f"the model's log-likelihoods after prompt {batch[0] + 1} and those like it are not finite: "
                "its weights, or what they make of this text, are beyond what numbers can hold"
            )
        done += len(batch)
        log_progress(f"{done} of {len(prompts)} prompts")
    return likelihoods


def _warpers(temperature: float, top_k: int, top_p: float) -> list[Warper]:
    """What becomes of the scores before a token is drawn; nothing where none is drawn."""
    if temperature == 0:
        return []
    warpers: list[Warper] = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    return warpers


def _chooser(warpers: Sequence[Warper], penalty: float, mask: Any, draws: Any) -> Warper:
    """What the scores [prompts, vocabulary] become before the highest is taken.

    With warpers, one token is drawn per row, by inverting the distribution at that row's own number,
    so that a row does not depend on the rows beside it.
    """

    def choose(ids: Any, scores: Any) -> Any:
        step = ids.shape[1] - mask.shape[1]
        if bool((scores.isnan() | scores.isposinf()).any()):
            raise MicrotomeError(
                f"the model's scores of new token {step + 1} are not finite; it cannot write"
            )
        if penalty != 1:
            real = torch.cat([mask, mask.new_ones(len(mask), step)], 1)
            appeared = torch.zeros_like(scores).scatter_add_(1, ids, real.to(scores.dtype)) > 0
            less = torch.where(scores > 0, scores / penalty, scores * penalty)
            scores = torch.where(appeared, less, scores)
        if not warpers:
            return scores
        for warp in warpers:
            scores = warp(ids, scores)
        cumulative = scores.double().softmax(-1).cumsum(-1)
        if not bool(cumulative[:, -1].isfinite().all()):
            raise MicrotomeError("at this temperature the scores are beyond what numbers can hold; raise it")
        level = draws[:, step, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, level, right=True).clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens, 0.0)

    return choose


def _of_batch(causal: CausalModel, prompts: Sequence[list[int]], choices: Sequence[list[int]]) -> Any:
    """A prompt goes through the model once; choices of several tokens go on from its keys and values, or
    behind the whole prompt again where a model keeps none."""
    ids, mask = causal.left_padded(prompts)
    after = causal.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    first = after.logits[:, -1].double().log_softmax(-1)
    total = first[:, [choice[0] for choice in choices]]
    longest = max(map(len, choices))
    if longest == 1:
        return total
    # What stands behind a shorter choice is seen by nothing before it and not counted.
    table = ids.new_tensor([[*choice, *choice[:1] * (longest - len(choice))] for choice in choices])
    counted = ids.new_tensor([[i < len(choice) for i in range(1, longest)] for choice in choices])
    table, counted = table.repeat(len(prompts), 1), counted.repeat(len(prompts), 1)
    before = mask.repeat_interleave(len(choices), 0)
    visible = torch.cat([before, torch.ones_like(counted)], 1)
    if getattr(after, "past_key_values", None) is None:  # a state space model
        whole = torch.cat([ids.repeat_interleave(len(choices), 0), table[:, :-1]], 1)
        later = causal.model(input_ids=whole, attention_mask=visible).logits[:, ids.shape[1] :]
    else:
        after.past_key_values.batch_repeat_interleave(len(choices))
        later = causal.model(
            input_ids=table[:, :-1],
            attention_mask=visible,
            position_ids=before.sum(1, keepdim=True) + torch.arange(longest - 1, device=ids.device),
            past_key_values=after.past_key_values,
        ).logits
    each = later.double().log_softmax(-1).gather(2, table[:, 1:, None])[..., 0] * counted
    return total + each.sum(1).view(len(prompts), len(choices))
