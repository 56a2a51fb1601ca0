"""Probing: what each layer of a checkpoint knows, from its caches alone; no model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from microtome.analysis.metrics.terms import METRIC_TERMS, write_metric_terms
from microtome.analysis.pooling import rows_refusal
from microtome.analysis.probing.settings import ProbeConfig
from microtome.jobs.data.examples import Split
from microtome.jobs.kinds.caches import open_cache
from microtome.jobs.kinds.extraction.settings import View
from microtome.jobs.kinds.job import Job, Sources
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import CacheUse, Planning, Step
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.tasks.references import TaskReferences
from microtome.store.artifacts.store import Staging, Store
from microtome.store.errors import InputError
from microtome.store.results import write_rows


class ProbeStep(Step):
    """A probe on the caches of a view."""

    view: str = Field(description="which caches: the name of one under extract")
    train: Split = Field("train", description="split the probe is fitted on")
    test: Split = Field("test", description="split it is scored on")
    dev: Split | None = Field(None, description="split its regularisation is chosen on; else part of train")
    tasks: tuple[str, ...] = Field((), description="only of these tasks; of all if none is named")
    options: ProbeConfig = ProbeConfig()

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        if len({self.train, self.test, self.dev}) < 3:
            raise ValueError("train, test and dev must be different splits")
        return self

    def cache_uses(self) -> Sequence[CacheUse]:
        splits = [split for split in (self.train, self.test, self.dev) if split is not None]
        return [CacheUse(self.view, split, "hidden") for split in splits]

    def with_task_names(self, tasks: TaskReferences, suite_tasks: Sequence[str], place: str) -> Self:
        names = [tasks.among(suite_tasks, reference, place) for reference in self.tasks]
        return self.model_copy(update={"tasks": tasks.names(names, f"{place}.tasks")})


@dataclass(frozen=True)
class ProbeSources(Sources):
    """The folders of the caches, where they are not in the store that the rows go into."""

    train: Path | None = None
    test: Path | None = None
    dev: Path | None = None


ProbeJob = Job[ProbeConfig, ProbeSources]


def probe_job(
    slug: str,
    train: str,
    test: str,
    dev: str | None,
    config: ProbeConfig,
    labels: Mapping[str, Any],
    sources: ProbeSources | None = None,
) -> ProbeJob:
    """Probe the layers of a checkpoint: `train`, `test` and, if there is one, `dev` are ids of caches."""
    inputs = {"train": train, "test": test} | ({"dev": dev} if dev else {})
    needs = tuple(inputs.values())
    return KIND.job(slug, config, sources or ProbeSources(), inputs=inputs, needs=needs, labels=labels)


def plan(planning: Planning) -> None:
    """Every probe on every checkpoint of its tasks."""
    views = planning.suite.named_steps(View)
    for checkpoint in planning.checkpoints:
        for step in planning.suite.steps(ProbeStep):
            if step.tasks and checkpoint.task.name not in step.tasks:
                continue
            caches = {split: id for (view, split), id in checkpoint.caches.items() if view == step.view}
            dev = caches[step.dev] if step.dev else None
            slug = f"{checkpoint.slug}.{step.options.probe}"
            train, test = caches[step.train], caches[step.test]
            kept = views[step.view].options.tokens
            refusal = rows_refusal(kept, checkpoint.task.kind.unit, step.options.pooling)
            if refusal:
                raise InputError(f"probe of view {step.view} on task {checkpoint.task.name}: {refusal}")
            planning.add(probe_job(slug, train, test, dev, step.options, checkpoint.labels))


def probe(job: ProbeJob, store: Store, staging: Staging) -> None:
    """One row per layer and metric, and what intervals are drawn from."""
    from microtome.analysis.probing.run import (
        probe as probe_layers,  # scikit-learn, which planning does without
    )

    sources, inputs = job.sources, job.inputs
    train = open_cache(sources.train, store, inputs["train"])
    test = open_cache(sources.test, store, inputs["test"])
    dev = open_cache(sources.dev, store, inputs["dev"]) if "dev" in inputs else None
    probed = probe_layers(job.config, train, test, dev, log_progress)
    write_rows(staging.path, probed.rows)
    write_metric_terms(staging.path / METRIC_TERMS, probed.terms)
    staging.provenance.update(provenance())


KIND = Kind(
    name="probe",
    title="probing of layers",
    stage="analysis",
    version=9,
    settings=ProbeConfig,
    sources=ProbeSources,
    run=probe,
    step=ProbeStep,
    plan=plan,
)
