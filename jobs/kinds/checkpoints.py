"""A trained checkpoint as others read it: its settings, its labels, and what its training noted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from microtome.jobs.kinds.finetune import FinetuneConfig
from microtome.jobs.kinds.records import AdaptRecord, FinetuneRecord
from microtome.jobs.models.adapter import AdapterDescription
from microtome.jobs.tasks import TRAINS_ONLY, Recipe
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.artifacts.store import Artifact


@dataclass(frozen=True, kw_only=True)
class FinetunedCheckpoint:
    """A model with a head for one task. `task` is the name of the task; `labels` are its classes or entity
    types, in the order of the head; `fraction` is per cent of the training data."""

    name: str
    task: str
    type: str
    labels: tuple[str, ...]
    fraction: float
    seed: int
    recipe: Recipe
    record: FinetuneRecord

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """That of an artifact of kind finetune."""
        config = FinetuneConfig.parse(artifact.settings, where=f"settings of {artifact.name}")
        return cls(
            name=artifact.path.name,
            task=str(artifact.labels.get("task", "")),
            type=config.type,
            labels=config.labels,
            fraction=config.fraction,
            seed=config.seed,
            recipe=config.recipe,
            record=FinetuneRecord.of(artifact),
        )

    @property
    def kind(self) -> TaskType:
        """The type of its task."""
        return TASK_TYPES[self.type]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the recipe that had an effect."""
        values = self.recipe.model_dump()
        unused = TRAINS_ONLY if self.fraction == 0 else ()
        return {name: value for name, value in values.items() if name not in unused}


@dataclass(frozen=True, kw_only=True)
class AdaptedCheckpoint:
    """A language model trained on a corpus. `corpus` is the identity of its documents, `new` the sizes of a
    model that began from random weights; `lora` says whether only an adapter was trained."""

    objective: str
    corpus: str
    new: Mapping[str, Any]
    settings: Mapping[str, Any]
    lora: bool
    adapter: AdapterDescription | None
    record: AdaptRecord

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """That of an artifact of kind adapt."""
        config = artifact.settings
        unused = {"base", "new", "objective", *(["mask_share"] if config["objective"] == "clm" else [])}
        return cls(
            objective=config["objective"],
            corpus=artifact.inputs["corpus"],
            new=config.get("new") or {},
            settings={name: value for name, value in config.items() if name not in unused},
            lora=bool(config.get("lora")),
            adapter=AdapterDescription.of(artifact),
            record=AdaptRecord.of(artifact),
        )


def finetuned(artifact: Artifact) -> FinetunedCheckpoint | None:
    """The description of a fine-tuned model; None for any other artifact."""
    return FinetunedCheckpoint.of(artifact) if artifact.kind == "finetune" else None
