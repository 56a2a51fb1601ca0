"""The front matter of a model card: what the hub reads of it.

Which keys there are and how they are written is huggingface_hub's; here is what stands under them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from microtome.analysis.metrics import METRICS, full_name
from microtome.jobs.kinds.checkpoints import AdaptedCheckpoint, finetuned
from microtome.jobs.models.registry import MODELS
from microtome.jobs.publishing.lineage import Lineage, task_of
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.artifacts.store import Artifact
from microtome.store.results import read_rows

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

OTHER = "other"  # the hub's word for a licence that is not in its list
OBJECTIVES = {"mlm": "masked language modelling", "clm": "causal language modelling"}
PIPELINES = {
    "token": "token-classification",
    "sequence": "text-classification",
    "mlm": "fill-mask",
    "clm": "text-generation",
}


def front_matter(chain: Lineage, name: str, *, adapter: bool, licence: str) -> str:
    """The metadata that the hub reads, as YAML; a key without a value is left out."""
    # Named here, because importing the hub's library takes longer than most commands.
    from huggingface_hub import ModelCardData

    artifact = chain.made
    direct = len(chain.steps) == 1
    english = bool(chain.tasks) or (chain.base is not None and chain.base.name in MODELS)
    lora = any(AdaptedCheckpoint.of(step).lora for step in chain.of_kind("adapt"))
    base_model = chain.base.hub if chain.base is not None else None
    relation: dict[str, Any] = {"base_model_relation": "adapter"} if adapter and base_model and direct else {}
    return ModelCardData(
        language=["en"] if english else None,
        license=licence,
        license_name="see-model-card" if licence == OTHER else None,
        library_name="peft" if adapter else "transformers",
        base_model=base_model,
        pipeline_tag=pipeline(artifact),
        tags=["microtome", _topic(artifact), *(["lora"] if lora else [])],
        datasets=[task.hub.repo for task in chain.tasks if task.hub is not None] or None,
        model_name=name.rpartition("/")[2],
        eval_results=list(_eval_results(artifact)),
        **relation,
    ).to_yaml()


def task_type(artifact: Artifact) -> TaskType | None:
    """The type of the task that a checkpoint was fine-tuned on; None for a language model."""
    checkpoint = finetuned(artifact)
    return None if checkpoint is None else checkpoint.kind


def pipeline(artifact: Artifact) -> str:
    """The task of a checkpoint in the words of the hub."""
    kind = task_type(artifact)
    return PIPELINES[AdaptedCheckpoint.of(artifact).objective if kind is None else kind.head]


def metric_name(metric: str) -> str:
    """A metric in full."""
    return full_name(metric) or metric.replace("_", " ")


def overall_rows(artifact: Artifact) -> list[dict[str, Any]]:
    """The rows that are about no single class."""
    return [row for row in read_rows(artifact) if row.get("label") is None]


def _topic(artifact: Artifact) -> str:
    checkpoint = finetuned(artifact)
    if checkpoint is not None:
        return checkpoint.type
    return OBJECTIVES[AdaptedCheckpoint.of(artifact).objective].replace(" ", "-")


def _eval_results(artifact: Artifact) -> Iterator["EvalResult"]:
    """Every score that the hub has a name for, on each split that was scored."""
    from huggingface_hub import EvalResult

    task = task_of(artifact) if artifact.kind == "finetune" else None
    name = artifact.labels.get("task", "corpus")
    rows = [row for row in overall_rows(artifact) if row.get("stage", "after") == "after"]
    for split in ("test", "dev") if artifact.kind == "finetune" else ("heldout",):
        for row in rows:
            if row["split"] == split and _metric_type(row["metric"]):
                yield EvalResult(
                    task_type=pipeline(artifact),
                    dataset_type=task.hub.repo if task is not None and task.hub is not None else name,
                    dataset_name=task.title if task is not None else name,
                    dataset_split=split,
                    metric_type=_metric_type(row["metric"]),
                    metric_name=metric_name(row["metric"]),
                    metric_value=row["value"],
                )


def _metric_type(metric: str) -> str:
    """What the hub calls a metric; empty for one that it has no name for."""
    return METRICS[metric].hub_type if metric in METRICS else ""
