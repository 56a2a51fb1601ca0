"""The analysis jobs: open caches by id, compute rows, write them. No model, tokenizer or dataset."""

from typing import Any

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.analysis.metrics.terms import write_summed
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.similarity_settings import SimilarityConfig
from microtome.jobs.kinds.job import Job
from microtome.jobs.run.logs import report
from microtome.jobs.run.provenance import provenance
from microtome.store.artifacts.store import Staging, Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.results import SUMMED, write_rows


def probe_job(
    slug: str, train: str, test: str, dev: str | None, config: ProbeConfig, labels: dict[str, Any]
) -> Job:
    """Probe the layers of a checkpoint: `train`, `test` and, if there is one, `dev` are ids of caches."""
    inputs = {"train": train, "test": test} | ({"dev": dev} if dev else {})
    return Job("probe", slug, config, inputs, needs=tuple(inputs.values()), labels=labels)


def attention_job(slug: str, before: str, after: str, config: AttentionConfig, labels: dict[str, Any]) -> Job:
    """Compare the attentions of two checkpoints: `before` and `after` are ids of caches."""
    inputs = {"before": before, "after": after}
    return Job("attention", slug, config, inputs, needs=(before, after), labels=labels)


def similarity_job(
    slug: str, before: str, after: str, config: SimilarityConfig, labels: dict[str, Any]
) -> Job:
    """Compare the hidden states of two checkpoints: `before` and `after` are ids of caches."""
    inputs = {"before": before, "after": after}
    return Job("similarity", slug, config, inputs, needs=(before, after), labels=labels)


def probe(job: Job, store: Store, staging: Staging) -> None:
    """One row per layer and metric, and what intervals are drawn from."""
    from microtome.analysis.probing.run import (
        probe as probe_layers,  # scikit-learn, which planning does without
    )

    train, test = _cache(job, store, "train"), _cache(job, store, "test")
    dev = _cache(job, store, "dev") if "dev" in job.inputs else None
    found = probe_layers(job.config, train, test, dev, report)  # type: ignore[arg-type]
    write_rows(staging.path, found.rows)
    write_summed(staging.path / SUMMED, found.summed)
    staging.provenance.update(provenance())


def attention(job: Job, store: Store, staging: Staging) -> None:
    """One row per layer, head and measure."""
    before, after = _cache(job, store, "before"), _cache(job, store, "after")
    write_rows(staging.path, compare_attention(job.config, before, after, report))  # type: ignore[arg-type]
    staging.provenance.update(provenance())


def similarity(job: Job, store: Store, staging: Staging) -> None:
    """One row per pair of layers and measure."""
    from microtome.analysis.similarity import compare_similarity  # scipy, which planning does without

    before, after = _cache(job, store, "before"), _cache(job, store, "after")
    write_rows(staging.path, compare_similarity(job.config, before, after, report))  # type: ignore[arg-type]
    staging.provenance.update(provenance())


def _cache(job: Job, store: Store, role: str) -> ActivationCache:
    return ActivationCache(job.sources.get(role) or store.open(job.inputs[role]).path)
