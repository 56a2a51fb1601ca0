"""A job killed as it flushes, moves or saves anything goes on from what is there, and ends the same."""

import functools
import multiprocessing
import os
import re
import shutil
import signal

import numpy as np
import pytest
import torch
import transformers

from microtome.jobs.kinds import KINDS
from microtome.jobs.models import epoch_trainer
from microtome.jobs.run.executor import run_job
from microtome.store.artifacts.store import MANIFEST, STAGING, Store
from microtome.store.files.checksums import checksum
from tests.jobs.models.saves import save_after_every_step

FORK = multiprocessing.get_context("fork")
pytestmark = [pytest.mark.forks, pytest.mark.kills]
STEPS_BEGUN = FORK.Value("l", 0)  # by the training that was killed last
# What makes a file last, moves it to its place, or writes a piece of a training state.
PLACES = (
    (os, "fsync"),
    (os, "rename"),
    (os, "replace"),
    (shutil, "rmtree"),
    (torch, "save"),
    (epoch_trainer, "save_file"),
    (transformers.Trainer, "_save"),
    (transformers.trainer_callback.TrainerState, "save_to_json"),
)


def run_and_die(job, root, at, names):
    """Run a job and be killed at its `at`-th call of one of PLACES; sends the name of each, once begun."""
    count = 0

    def dying(name, function):
        @functools.wraps(function)
        def wrapper(*args, **more):
            nonlocal count
            count += 1
            names.send(name)
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **more)

        return wrapper

    for owner, name in PLACES:
        setattr(owner, name, dying(name, getattr(owner, name)))
    count_steps()
    save_after_every_step()
    assert run_job(job, root)[0] is None


def count_steps():
    STEPS_BEGUN.value = 0
    handler = transformers.trainer_callback.CallbackHandler
    begin = handler.on_step_begin

    def on_step_begin(*args, **more):
        STEPS_BEGUN.value += 1
        return begin(*args, **more)

    handler.on_step_begin = on_step_begin


def killed_at(job, root, at):
    """The exit code of a child that runs a job and dies at a point, and the names of the calls before."""
    receive, send = FORK.Pipe(duplex=False)
    process = FORK.Process(target=run_and_die, args=(job, root, at, send))
    process.start()
    send.close()
    names = []
    try:
        while True:
            names.append(receive.recv())
    except EOFError:
        process.join(120)
    return process.exitcode, names


def contents(store, job):
    """The checksum of every file of an artifact, but of its manifest, which says when it was made."""
    folder = store.find(job.request).path
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): checksum(path) for path in files}


def saved_step(store):
    """The step of the last complete state on disk, found without the code that looks for it, or None."""
    states = store.root.glob(f"{STAGING}/*/.scratch/checkpoint-*/trainer_state.json")
    return max((int(path.parent.name.rpartition("-")[2]) for path in states), default=None)


def resumed_steps(store, job):
    return [int(n) for n in re.findall(r"resuming from checkpoint-(\d+)", _log(store, job))]


def _log(store, job):
    return store.log_path(job.request).read_text()


OF_EACH = 1  # points of each call that are taken, unless all are


def points_of(names, thorough):
    """The numbers of the calls to be killed at, from 1, each with its name."""
    if thorough:
        return list(enumerate(names, start=1))
    chosen = []
    for name in set(names):
        of_name = [at for at, other in enumerate(names, start=1) if other == name]
        places = np.linspace(0, len(of_name) - 1, min(OF_EACH, len(of_name)), dtype=int)
        chosen += [(of_name[place], name) for place in places]
    return sorted(chosen)


def killed_at_points(job, tmp_path, thorough):
    """Kill a job at one point after another; yields the name of the call and the store that is left."""
    code, names = killed_at(job, tmp_path / "whole", 0)
    assert code == 0
    for at, name in points_of(names, thorough):
        store = Store(tmp_path / f"killed-{at}")
        assert killed_at(job, store.root, at) == (-signal.SIGKILL, names[:at])
        yield name, store


def assert_goes_on(job, store, wanted):
    """The next run ends as one that was never killed, but for what `cache gc` knows of."""
    assert run_job(job, store.root)[0] is None
    assert all(store.discard(leftover) for leftover in store.leftovers(KINDS, 0))
    assert contents(store, job) == wanted
    assert not (store.root / STAGING).exists()


def test_a_fine_tuning_killed_in_any_save_or_commit_goes_on_from_its_last_state(
    bench, tiny_models, tmp_path, thorough, note_kills
):
    job = bench.finetune("ner", tiny_models / "bert", epochs=2, batch_size=30)
    bench.run(job)
    wanted = contents(bench.store, job)
    seen, steps, twice = [], set(), 0
    for name, store in killed_at_points(job, tmp_path, thorough):
        done, step = store.find(job.request) is not None, saved_step(store)
        twice = max(twice, 0 if done else STEPS_BEGUN.value - (step or 0))
        assert_goes_on(job, store, wanted)
        assert resumed_steps(store, job) == ([] if done or step is None else [step])
        seen.append(name)
        steps.add(step)
    assert {name for _, name in PLACES} <= set(seen)
    assert {None, 1, 2, 3} <= steps  # in the middle of an epoch, at its end, and before any
    assert twice == 1  # a state is saved after every step here
    note_kills("training save or commit", len(seen), twice, "steps")


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_an_extraction_killed_in_any_write_or_commit_does_it_again(
    bench, tiny_models, tmp_path, form, thorough
):
    job = bench.extract("ner", tiny_models / "bert", format=form)
    bench.run(job)
    wanted = contents(bench.store, job)
    seen = set()
    for name, store in killed_at_points(job, tmp_path, thorough):
        assert_goes_on(job, store, wanted)
        seen.add(name)
    assert {"fsync", "rename", "replace"} <= seen
