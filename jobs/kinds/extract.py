"""Extraction: a checkpoint and a split give an activation cache. How it runs is in `extraction/`."""

from collections.abc import Mapping
from typing import Any

from microtome.jobs.kinds.extraction.passes import SHARED_RUNS
from microtome.jobs.kinds.extraction.run import extract
from microtome.jobs.kinds.extraction.settings import (
    ExtractConfig,
    ExtractJob,
    ExtractSources,
    SplitConfig,
    View,
)
from microtome.jobs.kinds.job import slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning
from microtome.jobs.models.architecture import Architecture
from microtome.jobs.models.source import ModelSource
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.source import TaskData
from microtome.store.cache.attention_topk import LONGEST
from microtome.store.cache.token_rows import tokens_refusal
from microtome.store.errors import InputError

SINKS = (
    "attention sinks take a share of each row of attention: rows sum to less than 1 and are kept as they "
    "are; a comparison has the share as to_sink, and compares the rest"
)


def extract_job(
    task: Task,
    data: TaskData,
    checkpoint: ModelSource,
    split: str,
    config: ExtractConfig,
    labels: Mapping[str, Any],
) -> ExtractJob:
    """The job that caches what `checkpoint` does with a split. `labels` say which model this is of."""
    segments = config.segments if task.kind.texts == 2 else "together"
    if segments == "separate" and "attention" in config.keep:
        raise InputError("segments: separate keeps hidden states only; attentions are compared on pairs")
    unfit = _tokens_refusal(task, config.tokens, segments)
    if unfit:
        raise InputError(f"task {task.name}: {unfit}")
    settled = config.model_copy(
        update={
            "segments": segments,
            "keep": tuple(sorted(config.keep)),
            "max_length": config.max_length or task.recipe.max_length,
            "compute": _computed_in(config, checkpoint),
            "sample_seed": config.sample_seed if config.examples is not None else 0,  # there is no sample
        }
    )
    model = checkpoint.architecture
    parts = (
        "+".join(settled.keep),
        "separate" if segments == "separate" else "",
        settled.tokens if settled.tokens != "all" else "",
        f"top{settled.attention_topk}" if settled.attention_topk else "",
        "patterns" if settled.keeps_patterns else "",
    )
    view = ".".join(filter(None, parts))
    return KIND.job(
        f"{slug(checkpoint.name)}.{task.name}.{split}.{view}",
        SplitConfig(type=task.type, labels=task.labels, split=split, extract=settled),
        ExtractSources(checkpoint, data),
        inputs={"checkpoint": checkpoint.identity, "data": data.digest(split)},
        needs=(checkpoint.artifact,) if checkpoint.artifact else (),
        labels={**labels, "task": task.name},
        private=task.credentialed or checkpoint.private,
        refused=_refusal(settled, model) if model else "",
        notes=_notes(settled, model),
    )


def _refusal(settled: ExtractConfig, model: Architecture) -> str:
    """Why this cannot be kept of a model; empty where it can."""
    length = int(settled.max_length or 0)
    if settled.attention_topk is not None and model.sinks:
        return (
            f"attention_topk does not fit {model.kind} models, whose attention sinks take an unknown share "
            "of what is left of a row"
        )
    if settled.attention_topk is not None and length > LONGEST:
        return f"attention_topk fits sequences of at most {LONGEST:,} tokens, and max_length is {length:,}"
    return model.refusal(keep=settled.keep, length=length)


def _notes(settled: ExtractConfig, model: Architecture | None) -> tuple[str, ...]:
    """What a user should know of attentions before they are kept."""
    if "attention" not in settled.keep:
        return ()
    notes = []
    if model is not None and model.sinks:
        notes.append(SINKS)
    if settled.keeps_patterns and settled.attention_rows:
        notes.append(
            "patterns of attention and no maps are kept: patterns are exact, every measure of change is an "
            f"estimate from {settled.attention_rows} rows of each map"
        )
    elif settled.keeps_patterns:
        notes.append(
            "patterns of attention and no maps are kept: patterns are exact, no measure of change can be had"
        )
    if settled.attention_topk is not None:
        notes.append(
            f"of each row of attention the {settled.attention_topk} largest weights are kept: patterns and "
            "measures take the rest of a row as spread evenly"
        )
    return tuple(notes)


def _tokens_refusal(task: Task, tokens: str, segments: str) -> str:
    """Why `tokens` cannot be kept of a task; empty where it can."""
    if segments == "separate" and tokens == "mean" and task.kind.unit == "text":
        return "tokens: mean does not fit segments: separate, where a text is in two sequences"
    return tokens_refusal(tokens, task.kind.unit)


def _computed_in(config: ExtractConfig, checkpoint: ModelSource) -> str:
    """The dtype that a pass computes in. An identity must not depend on a machine, so `auto` looks at what
    the checkpoint says of itself, and not at what this machine computes fast. What was trained here is in
    float32, whatever its base was published in."""
    if config.compute != "auto":
        return config.compute
    made_here = checkpoint.artifact is not None or checkpoint.architecture is None
    return "float32" if made_here or checkpoint.architecture is None else checkpoint.architecture.dtype


def plan(planning: Planning) -> None:
    """Every view of every checkpoint."""
    for checkpoint in planning.checkpoints:
        data = planning.finder.data(checkpoint.task)
        for name, view in planning.suite.named_steps(View).items():
            for split, size in view.splits.items():
                options = view.options
                if size is not None:
                    options = options.model_copy(update={"examples": size})
                job = extract_job(checkpoint.task, data, checkpoint.model, split, options, checkpoint.labels)
                checkpoint.caches[name, split] = planning.add(job).id


KIND = Kind(
    name="extract",
    title="caching of activations",
    stage="extraction",
    version=3,
    settings=SplitConfig,
    sources=ExtractSources,
    run=extract,
    step=View,
    named_steps=True,
    plan=plan,
    needs_gpu=True,
    resumable=True,
    shared=True,
    shared_runs=SHARED_RUNS,
)
