"""Fine-tuning: a model, a task, a fraction of its training data and a seed give a checkpoint and scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from microtome.analysis.metrics.confusion import class_rows
from microtome.analysis.metrics.terms import METRIC_TERMS, ScoreKey, write_metric_terms
from microtome.jobs.data.examples import SPLITS, Example
from microtome.jobs.data.fractions import fraction_subset
from microtome.jobs.data.readers.spec import DEV_SHARE
from microtome.jobs.data.truncation import Truncation
from microtome.jobs.kinds.job import Job, ModelSources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Checkpoint, Planning
from microtome.jobs.kinds.records import FinetuneRecord
from microtome.jobs.models.source import CHECKPOINT, ModelSource
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.process.tracking import reporting
from microtome.jobs.tasks import TRAINS_ONLY, Recipe, Task
from microtome.jobs.tasks.check import first_text_overlap, overlap, refuse_overlap, without_duplicates
from microtome.jobs.tasks.source import TaskData, read_as_planned
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, Seed
from microtome.store.errors import InputError
from microtome.store.results import WITHOUT_DUPLICATES, write_rows


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


@dataclass(frozen=True)
class FinetuneSources(ModelSources):
    """The model to start from and the data of the task."""

    data: TaskData


FinetuneJob = Job[FinetuneConfig, FinetuneSources]


def finetune_job(
    task: Task, data: TaskData, model: ModelSource, fraction: float, seed: int, recipe: Recipe
) -> FinetuneJob:
    """The job that fine-tunes `model` on `fraction` per cent of the training split."""
    values = {
        "type": task.type,
        "labels": task.labels,
        "fraction": fraction,
        "seed": seed,
        "recipe": recipe,
    }
    config = FinetuneConfig.parse(values, where=f"fine-tuning on '{task.name}'")
    _refuse_settings_without_effect(task, recipe)
    shape = model.architecture
    return KIND.job(
        f"{task.name}.{slug(model.name)}.f{fraction:03g}.s{seed}",
        config,
        FinetuneSources(model, data),
        inputs={"model": model.identity, **{split: data.digest(split) for split in SPLITS}},
        needs=(model.artifact,) if model.artifact else (),
        labels={"task": task.name, "model": model.name, "fraction": fraction, "seed": seed},
        private=task.credentialed or model.private,
        refused=shape.refusal(length=recipe.max_length) if shape else "",
    )


def _refuse_settings_without_effect(task: Task, recipe: Recipe) -> None:
    of_sets = task.kind.problem == "multi_label_classification"
    wrong = {
        "positive_weight is for multi-label and relation tasks": recipe.positive_weight != 1
        and task.kind.counted(task.labels) is None,
        "threshold is for multi-label tasks": recipe.threshold != 0.5 and not of_sets,
        "tags is for tagging tasks": recipe.tags != "iob2" and task.kind.head != "token",
        "pooling is for tasks whose head reads whole texts": recipe.pooling != "auto"
        and task.kind.head == "token",
        "stride is for tasks with one text and no marked mentions": recipe.stride is not None
        and (task.kind.texts != 1 or task.kind.unit == "entity_pair"),
    }
    for what, is_so in wrong.items():
        if is_so:
            raise InputError(
                f"{what}; '{task.name}' is {task.type}. Set it for the tasks that it is meant for, under "
                "'recipes'"
            )


def plan(planning: Planning) -> None:
    """Every model on every task, by seed and fraction; and the checkpoints that this gives."""
    suite = planning.suite
    for task in map(suite.task, suite.tasks):
        as_they_are: dict[str, Checkpoint] = {}
        for name, model in planning.models.items():
            if name in planning.draws:
                planning.checkpoints += _drawn(planning.draws[name], name, task)
                continue  # a model that is drawn several times is not fine-tuned
            pretrained = Checkpoint(
                task=task,
                model=model,
                slug=f"{task.name}.{slug(name)}.f000",
                labels={"task": task.name, "model": name, "fraction": 0},
                before=as_they_are.get(suite.base_of(name) or ""),
            )
            as_they_are[name] = pretrained
            planning.checkpoints.append(pretrained)
            for seed in suite.seeds:
                for fraction in suite.fractions_of(name):
                    _plan_one(planning, pretrained, fraction, seed)


def _drawn(draws: Mapping[int, ModelSource], name: str, task: Task) -> list[Checkpoint]:
    """A model as it was drawn, with each seed."""
    return [
        Checkpoint(
            task=task,
            model=model,
            slug=f"{task.name}.{slug(name)}.f000.s{seed}",
            labels={"task": task.name, "model": name, "fraction": 0, "seed": seed},
        )
        for seed, model in draws.items()
    ]


def _plan_one(planning: Planning, pretrained: Checkpoint, fraction: float, seed: int) -> None:
    task, model = pretrained.task, pretrained.model
    job = planning.add(finetune_job(task, planning.finder.data(task), model, fraction, seed, task.recipe))
    if fraction == 0:
        return  # the same layers as the pretrained model
    source = ModelSource(
        f"{slug(model.name)}.f{fraction:03g}.s{seed}",
        job.id,
        artifact=job.id,
        private=job.private,
        architecture=model.architecture,
    )
    planning.checkpoints.append(
        Checkpoint(task=task, model=source, slug=job.slug, labels=job.labels, before=pretrained)
    )


def finetune(job: FinetuneJob, store: Store, staging: Staging) -> None:
    """Train, keep the best or last epoch, score dev and test; writes checkpoint/, rows and predictions."""
    import transformers

    from microtome.analysis.bootstrap import interval  # scipy, which planning does without
    from microtome.jobs.models.task_model import TaskModel

    config, data, source = job.config, job.sources.data, job.sources.model
    kind = data.task.kind
    examples = {split: read_as_planned(data, split, job.inputs[split]) for split in SPLITS}
    splits_trained = [split for split in SPLITS if split in config.recipe.train_on]
    trained_on = [example for split in splits_trained for example in examples[split]]
    strata = [kind.stratum(example) for example in trained_on]
    percent = config.fraction
    if config.recipe.train_examples is not None:
        percent = min(percent, 100 * config.recipe.train_examples / len(strata))
    training_rows = fraction_subset(strata, percent, config.seed)
    if data.spec.implies_dev:
        log_progress(f"dev is {DEV_SHARE:.0%} of the training documents, as the task names no dev")
    shared = {split: overlap(examples[split], trained_on) for split in ("dev", "test")}
    premises = {split: first_text_overlap(examples[split], trained_on) for split in ("dev", "test")}
    for split, share in shared.items():
        log_progress(f"{share:.1%} of the {split} texts are training texts word for word")
        if kind.texts == 2:
            log_progress(f"{premises[split]:.1%} of the {split} pairs have the first text of a training pair")
    refuse_overlap(data.task, shared["test"])
    examples["train"] = [trained_on[index] for index in training_rows]

    transformers.set_seed(config.seed)
    use = DeviceUse()
    model = TaskModel(source.folder(store, staging.scratch), source.name, kind, config.labels, config.recipe)
    splits = {split: model.prepare(rows) for split, rows in examples.items()}
    truncated = {split: data.truncation for split, data in splits.items()}
    for split, cut in truncated.items():
        _log_truncation(split, cut, config.recipe)
    history = _train(model, splits, config, staging) if training_rows else []

    # The Trainer has scored the epoch that it kept; a model that was not trained has no epoch.
    dev = _kept_epoch(history, kind.primary, config.recipe) or model.score(splits["dev"])
    if config.recipe.threshold == "dev":
        dev = model.choose_threshold(splits["dev"])
        log_progress(f"a class is predicted from a probability of {model.threshold:g}, the best on dev")
    test = splits["test"]
    outputs = model.outputs(test)
    predicted = model.decode(test, outputs)
    scores = kind.score(test.examples, predicted, config.labels)
    labelled = kind.labelled(test.examples, predicted, config.labels)
    # Always written: they are small beside a checkpoint, and nobody has to train again to have them.
    _write_logits(staging.path / "logits.npz", test.examples, outputs.logits, model.classes)
    _write_predictions(staging.path / "predictions.jsonl", test.examples, predicted)
    facts = {
        split: _facts(kind, splits[split], {"also_in_train": shared[split]}, premises[split])
        for split in shared
    }
    terms = kind.metric_terms(test.examples, predicted, config.labels)
    spread = interval([terms])
    bounds = {kind.primary: {"low": spread.low, "high": spread.high}}
    write_rows(
        staging.path,
        [
            *_rows("dev", dev | facts["dev"], len(splits["dev"])),
            *_rows("test", scores | facts["test"], len(test), bounds),
            *_without_duplicates(kind, test.examples, predicted, trained_on, config.labels),
            *({"split": "test", **row} for row in class_rows(labelled)),
        ],
    )
    write_metric_terms(staging.path / METRIC_TERMS, {ScoreKey(): terms})
    model.save(staging.path / CHECKPOINT)
    FinetuneRecord(
        training_examples=len(training_rows),
        history=history,
        truncated_words={split: cut.truncated_words for split, cut in truncated.items()},
        truncated_entities={split: cut.truncated_entities for split, cut in truncated.items()},
        held_out=list(data.spec.shares),
        also_in_train=shared,
        threshold=model.threshold,
        label_subword=model.subword,
    ).write(staging.outputs)
    staging.provenance.update(provenance(), **use.noted())
    log_progress(f"test {kind.primary} {scores[kind.primary]:.4f}")


def _train(
    model: Any, splits: Mapping[str, Any], config: FinetuneConfig, staging: Staging
) -> list[dict[str, float]]:
    from microtome.jobs.models import training

    recipe = config.recipe
    log_progress(f"{len(splits['train'])} training examples, {recipe.epochs:g} epochs on {model.device.type}")
    run = f"finetune {staging.request.slug}"
    with reporting(run, private=staging.request.private) as tracker:
        schedule = training.Schedule(
            settings=recipe,
            metric=model.kind.primary,
            keep_last=recipe.keep == "last",
            seed=config.seed,
            by_length=recipe.by_length,
            report_to=tracker,
            run=run,
        )
        return training.train(
            model.model,
            splits["train"].features,
            model.collator,
            lambda: model.score(splits["dev"]),
            schedule,
            staging.scratch,
            log_progress,
            model.loss(recipe.positive_weight),
            staging.send_progress,
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


def _facts(kind: TaskType, data: Any, shared: Mapping[str, float], first_text: float) -> dict[str, float]:
    """What a reader of the scores of a split has to know of its examples."""
    facts = {**data.truncation.rows(), **shared}
    if kind.texts == 2:
        facts["first_text_in_train"] = first_text
    if kind.unit == "entity_pair":
        facts["mentions_cut"] = float(data.mentions_cut)
        if data.mentions_cut:
            log_progress(f"{data.mentions_cut} relations have a mention beyond max_length, which nobody sees")
    return facts


def _log_truncation(split: str, cut: Truncation, recipe: Recipe) -> None:
    if cut.truncated_words:
        what_next = "; raise max_length, or set stride for long texts" if cut.worth_saying else ""
        log_progress(
            f"{split}: {cut} are beyond max_length {recipe.max_length}: the model never sees them, and they "
            f"count as missed{what_next}"
        )


def _without_duplicates(
    kind: TaskType,
    examples: Sequence[Example],
    predicted: Sequence[Any],
    training: Sequence[Example],
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """The test scores over the examples whose texts are no training texts; no rows where that is all, or
    none."""
    from microtome.analysis.bootstrap import interval

    places = without_duplicates(examples, training)
    if not places or len(places) == len(examples):
        return []
    kept = [examples[place] for place in places], [predicted[place] for place in places], labels
    spread = interval([kind.metric_terms(*kept)])
    bounds = {kind.primary: {"low": spread.low, "high": spread.high}}
    return _rows(WITHOUT_DUPLICATES, kind.score(*kept), len(places), bounds)


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
    """Ids, labels and, where the corpus has them, documents; no text."""
    with path.open("w", encoding="utf-8") as stream:
        for example, label in zip(examples, predicted, strict=True):
            row = {"id": example.id, "gold": example.label, "predicted": label}
            if example.document:
                row["document"] = example.document
            stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


KIND = Kind(
    name="finetune",
    title="fine-tuning",
    stage="training",
    version=6,
    settings=FinetuneConfig,
    sources=FinetuneSources,
    run=finetune,
    plan=plan,
    needs_gpu=True,
    resumable=True,
)
