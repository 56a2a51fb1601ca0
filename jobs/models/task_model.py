"""A model with the head of a task, and everything needed to ask it: tokenizer, encoder, label positions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from microtome.jobs.data.encoding import Encoder, Encoding
from microtome.jobs.data.examples import Example
from microtome.jobs.data.truncation import Truncation, truncation
from microtome.jobs.models import loading, task_heads, training
from microtome.jobs.models.batching import takes_segments
from microtome.jobs.models.finite import check_weights
from microtome.jobs.models.losses import Loss, loss_of_classes, loss_of_sets
from microtome.jobs.models.placement import DeviceMap, input_device, is_spread
from microtome.jobs.models.sharding import save_model
from microtome.jobs.models.windows import joined_windows, mean_of_windows
from microtome.jobs.tasks import Recipe
from microtome.jobs.tasks.types.task_type import TaskType


@dataclass(frozen=True)
class Prepared:
    """Examples with what the model takes: `windows` are the encodings of each, one unless its text is longer
    than the model takes and is not cut; `features` are those of all windows, one after the other."""

    examples: Sequence[Example]
    windows: Sequence[Sequence[Encoding]]
    features: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def truncation(self) -> Truncation:
        """Words and entities beyond max_length: never seen by the model, counted as missed."""
        return truncation(self.examples, self.windows)

    @property
    def mentions_cut(self) -> int:
        """Relations whose two mentions are not both seen by the model."""
        return sum(windows[0].mentions_cut for windows in self.windows)


@dataclass(frozen=True)
class Outputs:
    """float32 logits [classes] or [tokens, classes] of every example, and the tokens that they are of."""

    logits: Sequence[np.ndarray]
    encodings: Sequence[Encoding]


THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # that are tried on dev


class TaskModel:
    """Loads from a model folder; a missing head is drawn from torch's current seed. `threshold` is the
    probability from which a class of a multi-label task is predicted."""

    def __init__(
        self,
        folder: Path,
        name: str,
        kind: TaskType,
        labels: Sequence[str],
        recipe: Recipe,
        device_map: DeviceMap = "one",
    ) -> None:
        config = loading.load_config(folder)
        loading.check_usable(config, recipe.max_length)
        self.kind = kind.with_tags(recipe.tags)
        self.labels = tuple(labels)
        self.classes = self.kind.classes(labels)
        self.subword = _label_subword(recipe, loading.is_causal(config))
        self.stride = recipe.stride
        self.precision = recipe.precision
        self.threshold = 0.5 if recipe.threshold == "dev" else recipe.threshold
        self.tokenizer = loading.load_tokenizer(folder, name)
        self.encoder = Encoder(self.tokenizer, max_length=recipe.max_length)
        self.model = task_heads.load_for_task(
            folder,
            kind.head,
            kind.problem,
            self.classes,
            self.tokenizer.pad_token_id,
            mean=recipe.pooling == "mean",
            mlp=recipe.head == "mlp",
            device_map=device_map,
        )
        with_segments = takes_segments(self.model, self.tokenizer)
        self.collator = training.Collator(self.tokenizer.pad_token_id, with_segments)
        self.device = input_device(self.model) if is_spread(self.model) else loading.best_device()

    def prepare(self, examples: Sequence[Example]) -> Prepared:
        """Encode examples and place their targets."""
        self.encoder.encode_words(examples)
        windows = [self._windows(example) for example in examples]
        features = [
            {
                "input_ids": encoding.input_ids,
                "segment_ids": encoding.segment_ids,
                "labels": self.kind.targets(example, encoding, self.classes, self.subword),
            }
            for example, encodings in zip(examples, windows, strict=True)
            for encoding in encodings
        ]
        return Prepared(examples, windows, features)

    def _windows(self, example: Example) -> list[Encoding]:
        if self.stride is None:
            return [self.encoder.encode(example)]
        return self.encoder.windows(example, self.stride)

    def loss(self, positive_weight: float) -> Loss | None:
        """The loss in which the classes that the primary metric counts have this weight; None where that is
        the model's own."""
        if positive_weight == 1:
            return None
        if self.kind.problem == "multi_label_classification":
            return loss_of_sets(positive_weight)
        counted = self.kind.counted(self.labels) or ()
        return loss_of_classes([positive_weight if name in counted else 1 for name in self.classes])

    def outputs(self, data: Prepared) -> Outputs:
        """What the model says of every example, in order."""
        features = iter(
            training.predict(self.model, data.features, self.collator, self.device, self.precision)
        )
        by_window = [[next(features) for _ in windows] for windows in data.windows]
        if self.kind.head == "token":
            joined = [joined_windows(*one) for one in zip(data.windows, by_window, strict=True)]
            return Outputs([logits for _, logits in joined], [encoding for encoding, _ in joined])
        logits = [rows[0] if len(rows) == 1 else mean_of_windows(rows) for rows in by_window]
        return Outputs(logits, [windows[0] for windows in data.windows])

    def decode(self, data: Prepared, outputs: Outputs) -> list[Any]:
        """The predicted label of every example."""
        rows = zip(outputs.logits, data.examples, outputs.encodings, strict=True)
        shift = logit(self.threshold) if self.kind.problem == "multi_label_classification" else 0.0
        return [
            self.kind.decode(row - shift if shift else row, e, encoding, self.classes, self.subword)
            for row, e, encoding in rows
        ]

    def choose_threshold(self, data: Prepared) -> dict[str, float]:
        """Take the threshold with the best primary score on these examples, the one nearest to a half of
        several; returns the scores with it."""
        outputs = self.outputs(data)

        def scores(threshold: float) -> dict[str, float]:
            self.threshold = threshold
            return self.kind.score(data.examples, self.decode(data, outputs), self.labels)

        best = max(THRESHOLDS, key=lambda value: (scores(value)[self.kind.primary], -abs(value - 0.5)))
        return scores(best)

    def score(self, data: Prepared) -> dict[str, float]:
        """The task's metrics on examples with gold labels."""
        return self.kind.score(data.examples, self.decode(data, self.outputs(data)), self.labels)

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder: safetensors, config and tokenizer. MicrotomeError if a weight
        is not finite."""
        check_weights(self.model, "in the end")
        save_model(self.model, folder)
        self.tokenizer.save_pretrained(folder)


def logit(probability: float) -> float:
    """The output of a model that stands for a probability."""
    return math.log(probability / (1 - probability))


def _label_subword(recipe: Recipe, causal: bool) -> str:
    if recipe.label_subword != "auto":
        return recipe.label_subword
    return "last" if causal else "first"
