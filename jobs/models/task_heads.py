"""Classes with the head of a task: transformers' own, or one made here where it has none that fits.

transformers has no token head for OPT, Gemma 3 and Mamba, and its heads for T5 and BART stand on a decoder,
while a cache holds the encoder. The classes made here put a linear layer on what a cache holds. What they
save is a plain model folder: `AutoModel` loads its layers, microtome its head too.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
)

from microtome.jobs.models import loading
from microtome.jobs.models.placement import DeviceMap, load_spread
from microtome.store.errors import InputError

OWN_CLASSES = {
    "token": MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    "sequence": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
}
SUFFIXES = {"token": "ForTokenClassification", "sequence": "ForSequenceClassification"}
MARK = "microtome_head"  # in the config of a model whose head was made here
MEAN, MLP = "mean", "mlp"  # in what is noted there: over the mean of the tokens, with a hidden layer
# What configs call the dropout before a head, the most particular first.
DROPOUTS = ("classifier_dropout", "hidden_dropout_prob", "hidden_dropout", "dropout_rate", "dropout")


def load_for_task(
    folder: Path,
    head: str,
    problem: str,
    classes: Sequence[str],
    pad_token_id: int,
    *,
    mean: bool = False,
    mlp: bool = False,
    device_map: DeviceMap = "one",
) -> Any:
    """The model with the head of a task, which reads the mean of the tokens if `mean` and has a hidden layer
    if `mlp`; a head that the checkpoint lacks is new, drawn by torch's seed."""
    described = "-".join([head, *([MEAN] if mean else []), *([MLP] if mlp else [])])
    loader = functools.partial(
        loading.load,
        task_class(loading.load_config(folder), described),
        folder,
        num_labels=len(classes),
        problem_type=problem if head == "sequence" else None,
        id2label=dict(enumerate(classes)),
        label2id={name: index for index, name in enumerate(classes)},
        pad_token_id=pad_token_id,
        ignore_mismatched_sizes=True,
    )
    return load_spread(loader, device_map)


def task_class(config: PreTrainedConfig, head: str) -> Any:
    """The class of a config with the head `token` or `sequence`; with `-mean`, `-mlp` or both behind it, one
    made here."""
    if not config.is_encoder_decoder and type(config) in OWN_CLASSES.get(head, {}):
        return OWN_CLASSES[head][type(config)]
    config_class: Any = type(config)
    return _made_class(config_class, head, config.is_encoder_decoder)


def load_with_head(folder: str | Path) -> Any:
    """A fine-tuned model whose head was made here, as it was saved."""
    config = loading.load_config(Path(folder))
    head = getattr(config, MARK, None)
    if head is None:
        raise InputError(f"{folder}: its head is one of transformers; load it with transformers' own classes")
    return loading.load(task_class(config, head), Path(folder))


@functools.cache
def _made_class(config_class: Any, head: str, encoder: bool) -> Any:
    if config_class not in MODEL_MAPPING:
        raise InputError(
            f"{config_class.model_type} models cannot be fine-tuned: transformers has no base model"
        )
    base = MODEL_MAPPING[config_class]
    family = next(c for c in base.__mro__[1:] if issubclass(c, PreTrainedModel))
    level, *more = head.split("-")
    name = base.__name__.removesuffix("Model") + ("Encoder" if encoder else "") + SUFFIXES[level]
    name += "".join(f"With{part.capitalize()}" for part in more)
    fields = {"config_class": config_class, "base_class": base, "head": level, "__module__": __name__}
    fields |= {"described": head, "of_mean": MEAN in more, "mlp": MLP in more}
    # The family's own class brings its prefix, its initialisation and how its weights are split.
    return type(name, (_WithHead, family), fields)


class _WithHead:
    """A linear layer, or two with tanh between them, over the last hidden states: of every token; or of the
    last token of a causal model, and of the mean over the tokens of another or where that is asked for."""

    head: str
    described: str
    of_mean: bool
    mlp: bool
    base_class: Any
    base_model_prefix: str
    config: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        self.num_labels = config.num_labels
        setattr(config, MARK, self.described)
        setattr(self, self.base_model_prefix, self.base_class(config))
        self.dropout = torch.nn.Dropout(_dropout(config))
        self.hidden = torch.nn.Linear(config.hidden_size, config.hidden_size) if self.mlp else None
        self.score = torch.nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()  # type: ignore[attr-defined]

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **inputs: Any,
    ) -> Any:
        base = getattr(self, self.base_model_prefix)
        layers = base.get_encoder() if self.config.is_encoder_decoder else base
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        inputs.pop("num_items_in_batch", None)
        states = layers(input_ids=input_ids, attention_mask=mask, **inputs).last_hidden_state
        if self.head == "sequence":
            of_last = loading.is_causal(self.config) and not self.of_mean
            states = last_token(states, mask) if of_last else mean_of_tokens(states, mask)
        if self.hidden is not None:
            states = torch.tanh(self.hidden(self.dropout(states)))
        logits = self.score(self.dropout(states))
        loss_function: Any = getattr(self, "loss_function")  # noqa: B009  of PreTrainedModel
        if self.head == "token":
            loss = None if labels is None else loss_function(logits, labels, self.config)
            return TokenClassifierOutput(loss=loss, logits=logits)
        loss = (
            None
            if labels is None
            else loss_function(labels=labels, logits=logits, pooled_logits=logits, config=self.config)
        )
        return SequenceClassifierOutput(loss=loss, logits=logits)


def last_token(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[batch, width] of the last token that is no padding."""
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (places * mask).argmax(1)
    return states[torch.arange(len(states), device=states.device), last]


def mean_of_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[batch, width], the mean over the tokens that are no padding."""
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _dropout(config: Any) -> float:
    values = (getattr(config, name, None) for name in DROPOUTS)
    return next((float(value) for value in values if isinstance(value, int | float)), 0.1)
