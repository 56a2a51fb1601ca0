"""Comparison of attentions, head by head, from two caches; no model is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from microtome.analysis.attention.compare import BETWEEN_SEEDS, AttentionConfig, compare_attention
from microtome.jobs.data.examples import Split
from microtome.jobs.kinds.caches import CachePair, open_pair
from microtome.jobs.kinds.extraction.settings import ExtractConfig, View
from microtome.jobs.kinds.job import Job
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import CacheUse, Checkpoint, Planning, Step
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.store.artifacts.store import Staging, Store
from microtome.store.errors import InputError
from microtome.store.results import write_rows


class AttentionStep(Step):
    """Attentions of a view compared: of the fine-tuned model with the pretrained one, of an adapted model
    with its base, and, as the floor of change, of each seed of a fine-tuning with the next."""

    view: str = Field(description="which caches: the name of one under extract")
    split: Split = "test"
    options: AttentionConfig = AttentionConfig()

    def cache_uses(self) -> Sequence[CacheUse]:
        return [CacheUse(self.view, self.split, "attention")]


AttentionJob = Job[AttentionConfig, CachePair]


def attention_job(
    slug: str,
    before: str,
    after: str,
    config: AttentionConfig,
    labels: Mapping[str, Any],
    sources: CachePair | None = None,
) -> AttentionJob:
    """Compare the attentions of two checkpoints: `before` and `after` are ids of caches."""
    inputs, needs = {"before": before, "after": after}, (before, after)
    return KIND.job(slug, config, sources or CachePair(), inputs=inputs, needs=needs, labels=labels)


def plan(planning: Planning) -> None:
    """Every checkpoint with the one that it comes of."""
    steps = planning.suite.steps(AttentionStep)
    for step in steps:
        _refuse_without_rows(step, planning.suite.named_steps(View)[step.view].options)
    for before, after in planning.compared(KIND.name) if steps else ():
        for step in steps:
            key = step.view, step.split
            planning.add(
                attention_job(after.slug, before.caches[key], after.caches[key], step.options, after.labels)
            )

    for one, other in _between_seeds(planning.checkpoints) if steps else ():
        for step in steps:
            if step.options.measures:
                key = step.view, step.split
                options = step.options.model_copy(update={"patterns": ()})
                slug, labels = f"{one.slug}.next", {**one.labels, "stage": BETWEEN_SEEDS}
                planning.add(attention_job(slug, one.caches[key], other.caches[key], options, labels))


def _refuse_without_rows(step: AttentionStep, kept: ExtractConfig) -> None:
    """InputError if measures are asked for that cannot be had from what a view keeps."""
    if step.options.measures and kept.keeps_patterns and kept.attention_rows == 0:
        raise InputError(
            f"attention of view '{step.view}': {', '.join(step.options.measures)} are computed from rows of "
            "attention, of which it keeps none. Set options: {measures: []} for patterns alone, or "
            "attention_rows of the view above 0"
        )


def _between_seeds(checkpoints: Sequence[Checkpoint]) -> Iterator[tuple[Checkpoint, Checkpoint]]:
    """Each seed of a fine-tuning with the next one of the same fine-tuning."""
    last: dict[tuple[Any, ...], Checkpoint] = {}
    for checkpoint in checkpoints:
        labels = checkpoint.labels
        if checkpoint.before is None or labels.get("seed") is None:
            continue
        run = labels["task"], labels["model"], labels["fraction"]
        if run in last:
            yield last[run], checkpoint
        last[run] = checkpoint


def attention(job: AttentionJob, store: Store, staging: Staging) -> None:
    """One row per layer, head and measure."""
    before, after = open_pair(job.sources, store, job.inputs)
    write_rows(staging.path, compare_attention(job.config, before, after, log_progress))
    staging.provenance.update(provenance())


KIND = Kind(
    name="attention",
    title="comparison of attentions",
    stage="analysis",
    version=4,
    settings=AttentionConfig,
    sources=CachePair,
    run=attention,
    step=AttentionStep,
    plan=plan,
)
