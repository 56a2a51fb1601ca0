import pytest

from microtome.jobs.suite import disk
from microtome.jobs.suite.disk import cache_bytes
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from tests.jobs.suite.test_plan import run

HEADERS = 16_000  # manifest, zarr.json and zip entries of a small cache


def test_predicted_bytes_are_those_of_the_caches_that_come(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    override = ["extract.probing.options.dtype=float32"]
    plan = make_plan(load_suite(str(small_suite), override), store)
    predicted = cache_bytes(plan, store)
    assert set(predicted) == {job.id for job in plan.jobs if job.kind == "extract"}
    assert not store.root.exists()
    run(small_suite, store)
    for job in make_plan(load_suite(str(small_suite)), store).jobs:
        if job.kind == "extract" and job.id in predicted:
            written = store.find(job.request).bytes()
            assert 0.95 * (written - HEADERS) <= predicted[job.id] <= 1.05 * written, job.name


def test_a_second_prediction_tokenises_nothing(small_suite, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    store.root.mkdir()
    plan = make_plan(load_suite(str(small_suite)), store)
    predicted = cache_bytes(plan, store)
    monkeypatch.setattr(disk, "prepare", None)
    assert cache_bytes(plan, Store(store.root)) == predicted
    assert None not in predicted.values()
    monkeypatch.setattr(disk, "code_version", lambda folders: "other")
    with pytest.raises(TypeError, match="not callable"):
        cache_bytes(plan, Store(store.root))


def test_headers_are_less_than_a_twentieth_of_a_cache_worth_predicting(bench, tiny_models):
    from microtome.jobs.kinds.extraction.prepared import prepare

    job = bench.extract("ner", tiny_models / "bert", "train", dtype="float32", max_length=48)
    predicted = prepare(job, tiny_models / "bert", "bert").bytes()
    assert abs(bench.run(job).bytes() - predicted) / predicted < 0.05


def test_what_is_not_here_has_no_size(tmp_path):
    store = Store(tmp_path)
    plan = make_plan(load_suite("paper"), store)
    assert set(cache_bytes(plan, store).values()) == {None}
