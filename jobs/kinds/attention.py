"""Comparison of attentions, head by head, from two caches; no model is loaded."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.jobs.data.examples import Split
from microtome.jobs.kinds.caches import CachePair, open_pair
from microtome.jobs.kinds.job import Job
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import CacheUse, Planning, Step
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.store.artifacts.store import Staging, Store
from microtome.store.results import write_rows


class AttentionStep(Step):
    """Attentions of a view compared: of the fine-tuned model with the pretrained one, and of an adapted
    model with its base."""

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
    for before, after in planning.compared(KIND.name) if steps else ():
        for step in steps:
            key = step.view, step.split
            planning.add(
                attention_job(after.slug, before.caches[key], after.caches[key], step.options, after.labels)
            )


def attention(job: AttentionJob, store: Store, staging: Staging) -> None:
    """One row per layer, head and measure."""
    before, after = open_pair(job.sources, store, job.inputs)
    write_rows(staging.path, compare_attention(job.config, before, after, log_progress))
    staging.provenance.update(provenance())


KIND = Kind(
    name="attention",
    title="comparison of attentions",
    stage="analysis",
    version=2,
    settings=AttentionConfig,
    sources=CachePair,
    run=attention,
    step=AttentionStep,
    plan=plan,
)
