"""Fine-tuning: a model, a task, a fraction of its training data and a seed give a checkpoint and scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from microtome.analysis.bootstrap import interval
from microtome.analysis.metrics.terms import write_summed
from microtome.jobs.data.check import overlap, refuse_overlap
from microtome.jobs.data.examples import SPLITS, Example
from microtome.jobs.data.fractions import fraction_subset
from microtome.jobs.data.source import TaskData, read_as_planned
from microtome.jobs.kinds.job import Job, slug
from microtome.jobs.models.source import CHECKPOINT, ModelSource
from microtome.jobs.run.logs import report
from microtome.jobs.run.provenance import provenance
from microtome.jobs.tasks import TRAINS_ONLY, Recipe, Task
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, Seed
from microtome.store.errors import InputError
from microtome.store.results import SUMMED, write_rows


class FinetuneConfig(Config):
    """What decides a checkpoint, beside the model and the rows of the dataset."""

    type: str = Field(description="task type")
    labels: tuple[str, ...] = Field(description="entity types or classes, in the order of the head")
    fraction: float = Field(100, ge=0, le=100, description="per cent of the training data; 0 trains nothing")
    seed: Seed = Field(1, description="of the head, the order of the data and the subset")
    recipe: Recipe

    def settled(self) -> Self:
        """At fraction 0 the untrained model is the same, whatever the recipe says of training."""
        if self.fraction:
            return self
        usual = {name: Recipe.model_fields[name].default for name in TRAINS_ONLY}
        return self.model_copy(update={"recipe": self.recipe.model_copy(update=usual)})

    def all_settings(self) -> dict[str, Any]:
        """At fraction 0 without the settings of a training that never was."""
        fields = super().all_settings()
        if self.fraction == 0:
            recipe = {name: value for name, value in fields["recipe"].items() if name not in TRAINS_ONLY}
            fields["recipe"] = recipe
        return fields


def finetune_job(
    task: Task, data: TaskData, model: ModelSource, fraction: float, seed: int, recipe: Recipe
) -> Job:
    """The job that fine-tunes `model` on `fraction` per cent of the training split."""
    values = {
        "type": task.type,
        "labels": task.labels,
        "fraction": fraction,
        "seed": seed,
        "recipe": recipe,
    }
    config = FinetuneConfig.parse(values, where=f"fine-tuning on '{task.name}'")
    if recipe.positive_weight != 1 and task.kind.counted(task.labels) is None:
        raise InputError(
            f"positive_weight is for multi-label and relation tasks; '{task.name}' is {task.type}. "
            "Set it for the tasks that it is meant for, under 'recipes'"
        )
    shape = model.architecture
    return Job(
        kind="finetune",
        slug=f"{task.name}.{slug(model.name)}.f{fraction:03g}.s{seed}",
        config=config,
        inputs={"model": model.identity, **{split: data.digest(split) for split in SPLITS}},
        sources={"model": model, "data": data},
        needs=(model.artifact,) if model.artifact else (),
        labels={"task": task.name, "model": model.name, "fraction": fraction, "seed": seed},
        private=task.credentialed or model.private,
        refused=shape.refusal(head=task.kind.head, length=recipe.max_length) if shape else "",
    )


def finetune(job: Job, store: Store, staging: Staging) -> None:
    """Train, keep the best or last epoch, score dev and test; writes checkpoint/, rows and predictions."""
    import transformers

    from microtome.jobs.models.task_model import TaskModel

    config: FinetuneConfig = job.config  # type: ignore[assignment]
    data: TaskData = job.sources["data"]
    source: ModelSource = job.sources["model"]
    kind = data.task.kind
    examples = {split: read_as_planned(data, split, job.inputs[split]) for split in SPLITS}
    strata = [kind.stratum(example) for example in examples["train"]]
    percent = config.fraction
    if config.recipe.train_examples is not None:
        percent = min(percent, 100 * config.recipe.train_examples / len(strata))
    chosen = fraction_subset(strata, percent, config.seed)
    shared = {split: overlap(examples[split], examples["train"]) for split in ("dev", "test")}
    for split, share in shared.items():
        report(f"{share:.1%} of the {split} texts are training texts word for word")
    refuse_overlap(data.task, shared["test"])
    examples["train"] = [examples["train"][index] for index in chosen]

    transformers.set_seed(config.seed)
    model = TaskModel(source.folder(store, staging.scratch), source.name, kind, config.labels, config.recipe)
    splits = {split: model.prepare(rows) for split, rows in examples.items()}
    history = _train(model, splits, config, staging.scratch) if chosen else []

    # The Trainer has scored the epoch that it kept; a model that was not trained has no epoch.
    dev = _kept_epoch(history, kind.primary, config.recipe) or model.score(splits["dev"])
    test = splits["test"]
    logits = model.logits(test)
    predicted = model.decode(test, logits)
    scores = kind.score(test.examples, predicted, config.labels)
    by_class = kind.score_classes(test.examples, predicted, config.labels)
    # Always written: they are small beside a checkpoint, and nobody has to train again to have them.
    _write_logits(staging.path / "logits.npz", test.examples, logits, model.classes)
    _write_predictions(staging.path / "predictions.jsonl", test.examples, predicted)
    truncated = {split: data.truncated_words for split, data in splits.items()}
    sums = kind.summed(test.examples, predicted, config.labels)
    spread = interval([sums])
    bounds = {kind.primary: {"low": spread.low, "high": spread.high}}
    write_rows(
        staging.path,
        [
            *_rows("dev", dev | _facts("dev", truncated, shared), len(splits["dev"])),
            *_rows("test", scores | _facts("test", truncated, shared), len(test), bounds),
            *_class_rows("test", by_class),
        ],
    )
    write_summed(staging.path / SUMMED, {kind.primary: sums})
    model.save(staging.path / CHECKPOINT)
    staging.outputs.update(
        training_examples=len(chosen),
        history=history,
        truncated_words=truncated,
        also_in_train=shared,
        label_subword=model.subword,
    )
    staging.provenance.update(provenance(), device=model.device.type)
    report(f"test {kind.primary} {scores[kind.primary]:.4f}")


def _train(
    model: Any, splits: Mapping[str, Any], config: FinetuneConfig, folder: Path
) -> list[dict[str, float]]:
    from microtome.jobs.models import training

    recipe = config.recipe
    report(f"{len(splits['train'])} training examples, {recipe.epochs:g} epochs on {model.device.type}")
    schedule = training.Schedule(
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        warmup=recipe.warmup,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        metric=model.kind.primary,
        keep_last=recipe.keep == "last",
        seed=config.seed,
    )
    return training.train(
        model.model,
        splits["train"].features,
        model.collator,
        lambda: model.score(splits["dev"]),
        schedule,
        folder,
        report,
        model.loss(recipe.positive_weight),
    )


def _kept_epoch(history: list[dict[str, float]], metric: str, recipe: Recipe) -> dict[str, float]:
    """The dev scores of the epoch whose weights were kept; empty without training."""
    if not history:
        return {}
    kept = history[-1] if recipe.keep == "last" else max(history, key=lambda epoch: epoch[metric])
    return {name: value for name, value in kept.items() if name != "epoch"}


def _rows(
    split: str, scores: Mapping[str, float], n: int, bounds: Mapping[str, Mapping[str, float]] | None = None
) -> list[dict[str, Any]]:
    bounds = bounds or {}
    return [
        {"split": split, "metric": name, "value": value, "n": n, **bounds.get(name, {})}
        for name, value in scores.items()
    ]


def _facts(split: str, truncated: Mapping[str, int], shared: Mapping[str, float]) -> dict[str, float]:
    """What a reader of the scores of a split has to know of its examples."""
    return {"truncated_words": truncated[split], "also_in_train": shared[split]}


def _class_rows(split: str, table: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    return [
        {"split": split, "label": label, "metric": f"class_{name}", "value": value, "n": int(row["support"])}
        for label, row in table.items()
        for name, value in row.items()
    ]


def _write_logits(
    path: Path, examples: Sequence[Example], logits: Sequence[np.ndarray], classes: Sequence[str]
) -> None:
    """float32 [rows, classes] of every example, one after the other; `offsets` say where each begins."""
    rows = [np.atleast_2d(values) for values in logits]
    np.savez(
        path,
        logits=np.concatenate(rows),
        offsets=np.concatenate([[0], np.cumsum([len(values) for values in rows])]),
        ids=np.array([example.id for example in examples]),
        classes=np.array(classes),
    )


def _write_predictions(path: Path, examples: Sequence[Example], predicted: Sequence[Any]) -> None:
    """Ids and labels, no text."""
    with path.open("w", encoding="utf-8") as stream:
        for example, label in zip(examples, predicted, strict=True):
            row = {"id": example.id, "gold": example.label, "predicted": label}
            stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
