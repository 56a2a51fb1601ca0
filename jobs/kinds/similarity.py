"""Comparison of hidden states, layer with layer, from two caches; no model is loaded."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from microtome.analysis.similarity_settings import SimilarityConfig
from microtome.jobs.data.examples import Split
from microtome.jobs.kinds.caches import CachePair, open_pair
from microtome.jobs.kinds.job import Job
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import CacheUse, Planning, Step
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.store.artifacts.store import Staging, Store
from microtome.store.results import write_rows


class SimilarityStep(Step):
    """Hidden states of a view compared, layer with layer; the same pairs of models as for attention."""

    view: str = Field(description="which caches: the name of one under extract")
    split: Split = "test"
    options: SimilarityConfig = SimilarityConfig()

    def cache_uses(self) -> Sequence[CacheUse]:
        return [CacheUse(self.view, self.split, "hidden")]


SimilarityJob = Job[SimilarityConfig, CachePair]


def similarity_job(
    slug: str,
    before: str,
    after: str,
    config: SimilarityConfig,
    labels: Mapping[str, Any],
    sources: CachePair | None = None,
) -> SimilarityJob:
    """Compare the hidden states of two checkpoints: `before` and `after` are ids of caches."""
    inputs, needs = {"before": before, "after": after}, (before, after)
    return KIND.job(slug, config, sources or CachePair(), inputs=inputs, needs=needs, labels=labels)


def plan(planning: Planning) -> None:
    """Every checkpoint with the one that it comes of."""
    steps = planning.suite.steps(SimilarityStep)
    for before, after in planning.compared(KIND.name) if steps else ():
        for step in steps:
            key = step.view, step.split
            planning.add(
                similarity_job(after.slug, before.caches[key], after.caches[key], step.options, after.labels)
            )


def similarity(job: SimilarityJob, store: Store, staging: Staging) -> None:
    """One row per pair of layers and measure."""
    from microtome.analysis.similarity import compare_similarity  # scipy, which planning does without

    before, after = open_pair(job.sources, store, job.inputs)
    write_rows(staging.path, compare_similarity(job.config, before, after, log_progress))
    staging.provenance.update(provenance())


KIND = Kind(
    name="similarity",
    title="similarity of layers",
    stage="analysis",
    version=1,
    settings=SimilarityConfig,
    sources=CachePair,
    run=similarity,
    step=SimilarityStep,
    plan=plan,
)
