"""An extraction killed at any moment goes on where it was, and two at a time end with one cache."""

import multiprocessing
import os
import re
import signal

import numpy as np
import pytest

from microtome.jobs.models.forward import ForwardPass
from microtome.jobs.process import stopping
from microtome.jobs.run.executor import run_job
from microtome.store.artifacts.store import Store
from microtome.store.artifacts.verify import check
from microtome.store.cache.description import CacheDescription
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats import hdf5 as hdf5_parts
from microtome.store.cache.formats import zarr as zarr_parts
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import BUFFERS
from microtome.store.files import operations as files

FORK = multiprocessing.get_context("fork")
pytestmark = [pytest.mark.forks, pytest.mark.kills]
POINTS, FEW_POINTS = 12, 5  # that are killed at
PARTS_BEGUN = FORK.Value("l", 0)  # by the extraction that was killed last
STEPS = {os: ("fsync", "rename", "replace", "pwrite"), files: ("write_bytes",)}  # what reaches the disk


def job_of(bench, tiny_models, form="zarr"):
    return bench.extract("ner", tiny_models / "gpt2", format=form, batch_tokens=64)


def dying(step, at, calls, after):
    """A function that counts its calls together with others, and kills the process at one of them."""

    def counted(*args, **more):
        calls.value += 1
        found = step(*args, **more) if after else None
        if calls.value == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return found if after else step(*args, **more)

    return counted


def counting_parts(fill):
    def counted(self, buffers, batch_tokens):
        PARTS_BEGUN.value += 1
        return fill(self, buffers, batch_tokens)

    return counted


def run_and_die(job, root, at, calls, after=False):
    """Run a job; be killed before or after the `at`-th step that reaches the disk. `calls` says how many
    there were."""
    calls.value = PARTS_BEGUN.value = 0
    ForwardPass.fill = counting_parts(ForwardPass.fill)
    for module, names in STEPS.items():
        for name in names:
            setattr(module, name, dying(getattr(module, name), at, calls, after))
    for module in (zarr_parts, hdf5_parts):
        module.write_bytes = files.write_bytes
    error, _ = run_job(job, root)
    assert error is None, error


def in_child(target, *arguments):
    process = FORK.Process(target=target, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


def arrays(store, job):
    cache = ActivationCache(store.find(job.request).path)
    hidden = [cache.hidden(layer) for layer in range(3)]
    return hidden + [maps for layer in range(2) for _, maps in cache.iter_attention(layer)]


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 8 kB, so that a tiny cache has many."""
    from microtome.jobs.kinds.extraction import run

    real = run.CacheWriter
    monkeypatch.setattr(run, "CacheWriter", lambda *a, part_bytes, **more: real(*a, part_bytes=8192, **more))


def saved_parts(store):
    """How many parts a killed extraction has recorded; none if it had not begun, or was at its end."""
    return len(list((store.root / ".staging").glob("extract.*.0/.scratch/[0-9]*.json")))


def parts_to_do(store, job):
    """What the last try said when it began: (parts, of which to do)."""
    said = re.findall(r"examples in (\d+) \w+ parts, (\d+) to do", store.log_path(job.request).read_text())
    return tuple(map(int, said[-1]))


@pytest.mark.parametrize(
    "form", [pytest.param(f, marks=pytest.mark.thorough if f == "hdf5" else ()) for f in PART_FORMATS]
)
@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_killed_at_any_step_it_goes_on_from_the_parts_that_are_saved(
    bench, tiny_models, tmp_path, small_parts, form, after, thorough, note_kills
):
    job = job_of(bench, tiny_models, form)
    calls = FORK.Value("l", 0)
    assert in_child(run_and_die, job, bench.store.root, 0, calls) == 0
    wanted = arrays(bench.store, job)
    seen, points, twice = [], POINTS if thorough else FEW_POINTS, 0
    for point in np.linspace(1, calls.value, points, dtype=int).tolist():
        store = Store(tmp_path / f"killed-{point}")
        assert in_child(run_and_die, job, store.root, point, calls, after) == -signal.SIGKILL
        saved, ended = saved_parts(store), store.find(job.request) is not None
        twice = max(twice, 0 if ended else PARTS_BEGUN.value - saved)
        assert run_job(job, store.root)[0] is None
        if not ended:
            parts, to_do = parts_to_do(store, job)
            assert to_do == parts - saved
            seen.append(saved)
        for found, expected in zip(arrays(store, job), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert [f for f in check(store.find(job.request)) if ".scratch" not in f.where] == []
        names = {path.name for path in store.find(job.request).path.iterdir()}
        assert names - {".scratch"} == {"examples.npz", "manifest.json", "parts"}
    assert len(set(seen)) > points / 2  # kills came in many parts, not before the first
    assert twice <= BUFFERS  # those that were being computed or written
    note_kills(f"extraction, {form}", points, twice, "parts")


def test_a_saved_part_that_was_lost_is_computed_again(bench, tiny_models, small_parts, tmp_path):
    job = job_of(bench, tiny_models)
    calls = FORK.Value("l", 0)
    assert in_child(run_and_die, job, bench.store.root, 0, calls) == 0
    store = Store(tmp_path / "killed")
    assert in_child(run_and_die, job, store.root, calls.value // 2, calls) == -signal.SIGKILL
    saved = saved_parts(store)
    assert saved > 1
    [shard, *_] = sorted((store.root / ".staging").rglob("00000.zarr/hidden/c/0/0/0"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert run_job(job, store.root)[0] is None
    parts, to_do = parts_to_do(store, job)
    assert to_do == parts - saved + 1
    for found, expected in zip(arrays(store, job), arrays(bench.store, job), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_at_most_the_parts_under_way_are_done_again(bench, tiny_models, small_parts, monkeypatch):
    job = job_of(bench, tiny_models)
    filled = []
    real = ForwardPass.fill

    def fill(self, buffers, batch_tokens):
        filled.append(buffers[0].number)
        if len(filled) == 5:
            signal.raise_signal(signal.SIGTERM)
        return real(self, buffers, batch_tokens)

    monkeypatch.setattr(ForwardPass, "fill", fill)
    with pytest.raises(KeyboardInterrupt), stopping.listening():
        run_job(job, bench.store.root)
    assert saved_parts(bench.store) == 4
    assert run_job(job, bench.store.root)[0] is None
    parts = len(CacheDescription.of(bench.store.find(job.request)).parts)
    assert filled == [0, 1, 2, 3, 4, *range(4, parts)]  # the four before it were on disk
    assert parts > 5


def both_at_once(root, job, *points):
    """Run a job in as many processes at once, each killed at its point; their exit codes."""
    calls = FORK.Value("l", 0)
    processes = [FORK.Process(target=run_and_die, args=(job, root, point, calls)) for point in points]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def test_two_extractions_at_the_same_time_share_the_parts_of_one_cache(bench, tiny_models, small_parts):
    job = job_of(bench, tiny_models)
    assert both_at_once(bench.store.root, job, 0, 0) == [0, 0]
    [artifact] = bench.store.list("extract")
    assert list(check(artifact)) == []
    assert not (bench.store.root / ".staging").exists()
    lines = bench.store.log_path(job.request).read_text().splitlines()
    done = sorted(line for line in lines if line.startswith("» part "))
    assert len(done) == len(set(done)) == len(CacheDescription.of(artifact).parts)


def test_one_of_two_killed_the_other_does_its_part_too(bench, tiny_models, tmp_path, small_parts):
    job = job_of(bench, tiny_models)
    calls = FORK.Value("l", 0)
    assert in_child(run_and_die, job, bench.store.root, 0, calls) == 0
    wanted = arrays(bench.store, job)
    for number, share in enumerate((0.3, 0.6)):
        store = Store(tmp_path / str(number))
        codes = both_at_once(store.root, job, int(share * calls.value), 0)
        assert codes[1] == 0
        assert codes[0] in (0, -signal.SIGKILL)
        for found, expected in zip(arrays(store, job), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert not (store.root / ".staging").exists()
