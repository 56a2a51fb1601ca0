"""What the training jobs note beside their rows, as it stands under `outputs` of their manifests."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from microtome.store.artifacts.store import Artifact

Scores = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Record:
    """Fields that a job writes into the manifest of its artifact, and that are read back by name."""

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """The record of an artifact; what it did not note has its default."""
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in artifact.outputs.items() if name in names})

    def write(self, outputs: MutableMapping[str, Any]) -> None:
        """Put the record into the `outputs` of a manifest in the making."""
        outputs.update(asdict(self))


@dataclass(frozen=True, kw_only=True)
class FinetuneRecord(Record):
    """Of a fine-tuning.

    training_examples  how many examples the model was trained on
    history            the dev scores of each epoch
    truncated_words    by split, how many words were beyond max_length
    truncated_entities by split, how many gold entities or mentions of relations had such a word
    held_out           splits that were drawn here from the training documents
    also_in_train      by split, the share of texts that are training texts word for word
    threshold          probability from which a class of a multi-label task is predicted
    label_subword      the subword that carries the label of a word: first or last; empty for other tasks
    """

    training_examples: int
    history: Sequence[Scores] = field(default_factory=list)
    truncated_words: Mapping[str, int] = field(default_factory=dict)
    truncated_entities: Mapping[str, int] = field(default_factory=dict)
    held_out: Sequence[str] = field(default_factory=list)
    also_in_train: Scores = field(default_factory=dict)
    threshold: float = 0.5
    label_subword: str = ""


@dataclass(frozen=True, kw_only=True)
class AdaptRecord(Record):
    """Of an adaptation.

    blocks, tokens        by side (training, heldout), how many there were
    parameters            of the model; `trainable_parameters` is how many of them were trained
    checkpoint_bytes      size of the checkpoint on disk
    history               the held-out scores of each scored epoch
    """

    blocks: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    parameters: int = 0
    trainable_parameters: int = 0
    checkpoint_bytes: int = 0
    history: Sequence[Scores] = field(default_factory=list)
