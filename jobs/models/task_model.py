"""A model with the head of a task, and everything needed to ask it: tokenizer, encoder, label positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtome.jobs.data.encoding import Encoder, Encoding
from microtome.jobs.data.examples import Example
from microtome.jobs.models import loading, task_heads, training
from microtome.jobs.models.batching import takes_segments
from microtome.jobs.models.finite import check_weights
from microtome.jobs.models.losses import Loss, loss_of_classes, loss_of_sets
from microtome.jobs.tasks import Recipe
from microtome.jobs.tasks.types.task_type import TaskType


@dataclass(frozen=True)
class Prepared:
    """Examples with their encodings and the features that the model takes."""

    examples: Sequence[Example]
    encodings: Sequence[Encoding]
    features: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def truncated_words(self) -> int:
        """Words beyond max_length: never seen by the model, counted as missed."""
        return sum(encoding.truncated_words for encoding in self.encodings)


class TaskModel:
    """Loads from a model folder; a missing head is drawn from torch's current seed."""

    def __init__(
        self, folder: Path, name: str, kind: TaskType, labels: Sequence[str], recipe: Recipe
    ) -> None:
        config = loading.load_config(folder)
        loading.check_usable(config, recipe.max_length)
        self.kind = kind
        self.labels = tuple(labels)
        self.classes = kind.classes(labels)
        self.subword = _label_subword(recipe, loading.is_causal(config))
        self.tokenizer = loading.load_tokenizer(folder, name)
        self.encoder = Encoder(self.tokenizer, max_length=recipe.max_length)
        self.model = task_heads.load_for_task(
            folder, kind.head, kind.problem, self.classes, self.tokenizer.pad_token_id
        )
        with_segments = takes_segments(self.model, self.tokenizer)
        self.collator = training.Collator(self.tokenizer.pad_token_id, with_segments)
        self.device = loading.best_device()

    def prepare(self, examples: Sequence[Example]) -> Prepared:
        """Encode examples and place their targets."""
        encodings = [self.encoder.encode(example) for example in examples]
        features = []
        for example, encoding in zip(examples, encodings, strict=True):
            targets = self.kind.targets(example, encoding, self.classes, self.subword)
            features.append(
                {"input_ids": encoding.input_ids, "segment_ids": encoding.segment_ids, "labels": targets}
            )
        return Prepared(examples, encodings, features)

    def loss(self, positive_weight: float) -> Loss | None:
        """The loss in which the classes that the primary metric counts have this weight; None where that is
        the model's own."""
        if positive_weight == 1:
            return None
        if self.kind.problem == "multi_label_classification":
            return loss_of_sets(positive_weight)
        counted = self.kind.counted(self.labels) or ()
        return loss_of_classes([positive_weight if name in counted else 1 for name in self.classes])

    def logits(self, data: Prepared) -> list[np.ndarray]:
        """float32 [classes] or [tokens, classes] of every example, in order."""
        return training.predict(self.model, data.features, self.collator, self.device)

    def decode(self, data: Prepared, logits: Sequence[np.ndarray]) -> list[Any]:
        """The predicted label of every example."""
        rows = zip(logits, data.examples, data.encodings, strict=True)
        return [self.kind.decode(row, e, encoding, self.classes, self.subword) for row, e, encoding in rows]

    def score(self, data: Prepared) -> dict[str, float]:
        """The task's metrics on examples with gold labels."""
        return self.kind.score(data.examples, self.decode(data, self.logits(data)), self.labels)

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder: safetensors, config and tokenizer. MicrotomeError if a weight
        is not finite."""
        check_weights(self.model, "in the end")
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _label_subword(recipe: Recipe, causal: bool) -> str:
    if recipe.label_subword != "auto":
        return recipe.label_subword
    return "last" if causal else "first"
