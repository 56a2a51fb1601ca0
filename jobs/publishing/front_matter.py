"""The front matter of a model card: what the hub reads of it.

Defined in https://huggingface.co/docs/hub/model-cards and in modelcard.md of huggingface/hub-docs.
"""

from collections.abc import Iterator
from typing import Any

from microtome.analysis.metrics.scores import FULL_NAMES
from microtome.jobs.models.registry import MODELS
from microtome.jobs.publishing.lineage import Lineage, task_of
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.artifacts.store import Artifact
from microtome.store.results import read_rows

OTHER = "other"  # the hub's word for a licence that is not in its list
OBJECTIVES = {"mlm": "masked language modelling", "clm": "causal language modelling"}
PIPELINES = {
    "token": "token-classification",
    "sequence": "text-classification",
    "mlm": "fill-mask",
    "clm": "text-generation",
}
# What the hub calls a metric, by how ours ends.
METRIC_TYPES = {
    "f1": "f1",
    "f1_untyped": "f1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "exact_match": "exact_match",
    "perplexity": "perplexity",
    "loss": "loss",
}


def front_matter(chain: Lineage, name: str, *, adapter: bool, licence: str) -> dict[str, Any]:
    """The metadata that the hub reads; a key without a value is left out."""
    artifact = chain.made
    direct = len(chain.steps) == 1
    english = bool(chain.tasks) or (chain.base is not None and chain.base.name in MODELS)
    lora = any(step.settings.get("lora") for step in chain.steps)
    hub = chain.base.hub if chain.base is not None else None
    found = {
        "language": ["en"] if english else None,
        "license": licence,
        "license_name": "see-model-card" if licence == OTHER else None,
        "library_name": "peft" if adapter else "transformers",
        "base_model": hub,
        "base_model_relation": "adapter" if adapter and hub and direct else None,
        "pipeline_tag": pipeline(artifact),
        "tags": ["microtome", _topic(artifact), *(["lora"] if lora else [])],
        "datasets": [task.hub.repo for task in chain.tasks if task.hub is not None],
        "model-index": [{"name": name.rpartition("/")[2], "results": list(_results(artifact))}],
    }
    return {key: value for key, value in found.items() if value}


def task_type(artifact: Artifact) -> TaskType | None:
    """The type of the task that a checkpoint was fine-tuned on; None for a language model."""
    return TASK_TYPES[artifact.settings["type"]] if artifact.kind == "finetune" else None


def pipeline(artifact: Artifact) -> str:
    """The task of a checkpoint in the words of the hub."""
    kind = task_type(artifact)
    return PIPELINES[artifact.settings["objective"] if kind is None else kind.head]


def metric_name(metric: str) -> str:
    """A metric in full."""
    return FULL_NAMES.get(metric, metric.replace("_", " "))


def overall_rows(artifact: Artifact) -> list[dict[str, Any]]:
    """The rows that are about no single class."""
    return [row for row in read_rows(artifact) if row.get("label") is None]


def _topic(artifact: Artifact) -> str:
    config = artifact.settings
    return (
        config["type"] if artifact.kind == "finetune" else OBJECTIVES[config["objective"]].replace(" ", "-")
    )


def _results(artifact: Artifact) -> Iterator[dict[str, Any]]:
    """The `results` of a model-index: one entry for each split that was scored."""
    task = task_of(artifact) if artifact.kind == "finetune" else None
    name = artifact.manifest["labels"].get("task", "corpus")
    for split in ("test", "dev") if artifact.kind == "finetune" else ("heldout",):
        metrics = [
            {"type": _metric_type(row["metric"]), "value": row["value"], "name": metric_name(row["metric"])}
            for row in overall_rows(artifact)
            if row["split"] == split and row.get("stage", "after") == "after"
            if _metric_type(row["metric"])
        ]
        if metrics:
            yield {
                "task": {"type": pipeline(artifact)},
                "dataset": {
                    "type": task.hub.repo if task is not None and task.hub is not None else name,
                    "name": task.title if task is not None else name,
                    "split": split,
                },
                "metrics": metrics,
            }


def _metric_type(metric: str) -> str:
    return next((kind for end, kind in METRIC_TYPES.items() if metric.endswith(end)), "")
