"""Several caches of one checkpoint: one process, one model, and one pass where the examples are the same."""

from collections import Counter

import numpy as np
import pytest

from microtome.jobs.kinds.extraction import run as extraction_run
from microtome.jobs.kinds.extraction.passes import passes
from microtome.jobs.models import loading
from microtome.jobs.models.capture import Capture
from microtome.jobs.run.executor import execute
from microtome.jobs.run.local_runner import LocalRunner
from microtome.jobs.run.one_process import run_jobs
from microtome.store.artifacts.store import Store
from microtome.store.cache.description import CacheDescription
from microtome.store.cache.reader import ActivationCache
from tests.jobs.suite.test_plan import Silent

VIEWS = {
    "hidden": {"keep": ["hidden"], "dtype": "float32"},
    "attention": {"keep": ["attention"], "dtype": "float32"},
    "first": {"keep": ["hidden"], "tokens": "first_subwords", "hidden_layers": [0, 2]},
}


@pytest.fixture
def loads(monkeypatch):
    """How models are loaded: (with attentions,) in order."""
    real, calls = loading.load_backbone, []

    def load(folder, device, *, attentions=True, **more):
        calls.append(attentions)
        return real(folder, device, attentions=attentions, **more)

    monkeypatch.setattr(loading, "load_backbone", load)
    return calls


@pytest.fixture
def batches(monkeypatch):
    """How many batches have gone through a model."""
    real, count = Capture.run, Counter()

    def counted(self, batch, receive):
        count["batches"] += 1
        return real(self, batch, receive)

    monkeypatch.setattr(Capture, "run", counted)
    return count


def jobs_of(bench, model, **more):
    return [bench.extract("ner", model, **view, **more) for view in VIEWS.values()]


def arrays(store, job):
    cache = ActivationCache(store.find(job.request).path)
    hidden = [cache.hidden(layer) for layer in cache.layout.hidden_layers]
    maps = [m for layer in cache.layout.attention_layers for _, m in cache.iter_attention(layer)]
    return hidden + maps


def assert_same(store, other, jobs):
    for job in jobs:
        for made, wanted in zip(arrays(store, job), arrays(other, job), strict=True):
            np.testing.assert_allclose(made, wanted, rtol=1e-3, atol=1e-4)


def test_views_of_the_same_examples_are_one_pass_and_hold_what_each_would_alone(
    bench, tiny_models, tmp_path, loads, batches
):
    jobs = jobs_of(bench, tiny_models / "bert")
    alone = Store(tmp_path / "alone")
    for job in jobs:
        [ran] = run_jobs([job], alone.root)
        assert ran.failure is None
    singly, loaded = batches["batches"], len(loads)
    batches.clear(), loads.clear()
    outcome = execute(jobs, set(), {}, LocalRunner(bench.store.root), Silent())
    assert outcome.ok, outcome.failed
    assert (loaded, loads) == (3, [True])
    assert batches["batches"] < singly / 2
    assert_same(bench.store, alone, jobs)
    log = bench.store.log_path(min(jobs, key=lambda job: job.id).request).read_text()
    assert f"one pass for {', '.join(j.name for j in sorted(jobs, key=lambda job: job.id))}" in log
    used = [bench.store.find(job.request).provenance["device_seconds"] for job in jobs]
    assert len(set(used)) == 1  # each a third of what the pass took


def test_views_of_other_examples_share_the_process_and_its_model(bench, tiny_models, loads):
    model = tiny_models / "bert"
    jobs = [bench.extract("ner", model, split, keep=["hidden"]) for split in ("train", "dev", "test")]
    jobs.append(bench.extract("ner", model, keep=["attention"], examples=5))
    assert [len(each) for each in passes(jobs)] == [1, 1, 1, 1]
    assert execute(jobs, set(), {}, LocalRunner(bench.store.root), Silent()).ok
    assert loads == [True, False]  # with attentions once, without once


def test_a_view_that_cannot_be_made_stops_no_other(bench, tiny_models, monkeypatch):
    jobs = jobs_of(bench, tiny_models / "bert")
    real = extraction_run.extract_in_one_pass
    refused = jobs[1].id

    def refusing(makings, store, backbone):
        if any(making.job.id == refused for making in makings):
            raise ValueError("this one cannot be kept")
        return real(makings, store, backbone)

    monkeypatch.setattr("microtome.jobs.kinds.extraction.passes.extract_in_one_pass", refusing)
    outcome = execute(jobs, set(), {}, LocalRunner(bench.store.root), Silent())
    assert [(job.id, why) for job, why in outcome.failed] == [
        (refused, "ValueError: this one cannot be kept")
    ]
    assert {job.id for job in outcome.done} == {jobs[0].id, jobs[2].id}


def test_a_cache_that_was_begun_by_itself_keeps_its_parts(bench, tiny_models, tmp_path, monkeypatch):
    jobs = jobs_of(bench, tiny_models / "gpt2")
    real = extraction_run.CacheWriter
    monkeypatch.setattr(
        extraction_run, "CacheWriter", lambda *a, part_bytes, **more: real(*a, part_bytes=9000, **more)
    )
    monkeypatch.setattr(extraction_run, "MEGABYTE", 100)
    kind_run = extraction_run.compute_parts

    def stopped(writers, *more):
        kind_run(writers, *more)
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction_run, "compute_parts", stopped)
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(jobs[:1], bench.store.root))
    monkeypatch.setattr(extraction_run, "compute_parts", kind_run)
    assert all(ran.failure is None for ran in run_jobs(jobs, bench.store.root))
    counts = [len(CacheDescription.of(bench.store.find(job.request)).parts) for job in jobs]
    assert counts[1] == counts[2] != counts[0]
    other = Store(tmp_path / "other")
    assert all(ran.failure is None for ran in run_jobs(jobs, other.root))
    assert_same(bench.store, other, jobs)


def test_values_beyond_float16_widen_the_cache_that_has_them(bench, tiny_models, tmp_path):
    from transformers import AutoModel

    folder = tmp_path / "wide"
    loading.load_tokenizer(tiny_models / "bert").save_pretrained(folder)
    model = AutoModel.from_pretrained(tiny_models / "bert")
    model.encoder.layer[0].output.LayerNorm.bias.data[3] = 1e5
    model.save_pretrained(folder)
    jobs = [bench.extract("ner", folder, keep=[what]) for what in ("hidden", "attention")]
    assert all(ran.failure is None for ran in run_jobs(jobs, bench.store.root))
    made = [CacheDescription.of(bench.store.find(job.request)).layout.dtype for job in jobs]
    assert made == ["bfloat16", "float16"]
