"""An extraction killed at any moment goes on where it was, and two at a time end with one cache."""

import multiprocessing
import os
import signal
import sys
import threading

import numpy as np
import pytest

from jobs.executor import run_job
from store.activations import ActivationCache
from store.artifacts import Store
from store.checksums import damaged_parts
from store.formats import PART_FORMATS

FORK = multiprocessing.get_context("fork")
OURS = (f"{os.sep}store{os.sep}", f"{os.sep}models{os.sep}forward.py")
POINTS = 8


def job_of(bench, tiny_models, form="zarr"):
    return bench.extract("ner", tiny_models / "gpt2", format=form, batch_tokens=64)


def run_and_die(job, root, at, calls):
    """Run a job; at the `at`-th call of a function of the store or of the forward pass, be killed."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        if event == "call" and any(part in frame.f_code.co_filename for part in OURS):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)
    threading.setprofile(profile)
    error, _ = run_job(job, root)
    sys.setprofile(None)
    assert error is None, error
    calls.value = count


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
    from jobs import extract

    real = extract.CacheWriter
    monkeypatch.setattr(
        extract, "CacheWriter", lambda *a, part_bytes, **more: real(*a, part_bytes=8192, **more)
    )


@pytest.mark.parametrize("form", list(PART_FORMATS))
def test_killed_anywhere_it_ends_with_the_same_arrays(bench, tiny_models, tmp_path, small_parts, form):
    job = job_of(bench, tiny_models, form)
    calls = FORK.Value("l", 0)
    assert in_child(run_and_die, job, bench.store.root, 0, calls) == 0
    wanted = arrays(bench.store, job)
    points = np.random.default_rng(7).integers(1, calls.value, POINTS).tolist()
    for number, point in enumerate(points):
        store = Store(tmp_path / f"killed-{number}")
        assert in_child(run_and_die, job, store.root, point, calls) == -signal.SIGKILL
        assert run_job(job, store.root)[0] is None
        for found, expected in zip(arrays(store, job), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)
        names = {path.name for path in store.find(job.request).path.iterdir()}
        assert names == {"examples.npz", "manifest.json", "parts"}


def test_at_most_the_parts_under_way_are_done_again(bench, tiny_models, small_parts, monkeypatch):
    from jobs.models import forward

    job = job_of(bench, tiny_models)
    filled = []
    real = forward.fill

    def fill(buffer, *args, **more):
        filled.append(buffer.number)
        if len(filled) == 5:
            raise KeyboardInterrupt
        return real(buffer, *args, **more)

    monkeypatch.setattr(forward, "fill", fill)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, bench.store.root)
    assert run_job(job, bench.store.root)[0] is None
    assert filled[:5] == [0, 1, 2, 3, 4]
    assert filled[5] == 4  # the four before it were on disk
    assert filled[5:] == sorted(set(filled[5:]))


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
    assert damaged_parts(artifact) == []
    assert not (bench.store.root / ".staging").exists()
    lines = bench.store.log_path(job.request).read_text().splitlines()
    done = sorted(line for line in lines if line.startswith("» part "))
    assert len(done) == len(set(done)) == len(artifact.manifest["outputs"]["cache"]["parts"])


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
