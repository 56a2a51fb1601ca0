"""SIGTERM and Ctrl-C: one line, the state is saved within seconds, the next run goes on from it."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

from microtome.jobs.models import epoch_trainer, training
from microtome.jobs.models.source import CHECKPOINT
from microtome.jobs.process import stopping
from microtome.jobs.run.executor import execute, run_job
from microtome.jobs.run.local_runner import LocalRunner
from microtome.store.artifacts.store import Store
from microtome.store.results import read_rows
from tests.jobs.suite.test_plan import Silent

MICROTOME = (sys.executable, "-c", "from microtome.jobs.cli import main; main()")
LINE = "stopped; the same command goes on where this one was\n"
PATIENCE = 120  # seconds, until a test gives up


def until(condition, process):
    """What `condition` returns once it is true; meanwhile the process must live."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("nothing came in time")


def start(*command):
    return subprocess.Popen(
        [*MICROTOME, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def log_of(store, kind):
    return "".join(path.read_text() for path in sorted((store / "logs").glob(f"{kind}.*")))


def newest_state(store):
    """The step of the last complete training state in the staging folders of a store."""
    found = [training.last_complete_checkpoint(p) for p in (store / ".staging").glob("finetune.*/.scratch")]
    return max((int(state.name.rpartition("-")[2]) for state in found if state), default=0)


def stopped_while_training(store, number, command):
    """Start a command, wait until it trains, send it a signal; the process and what it wrote to stderr."""
    before = log_of(store, "finetune")
    process = start(*command)
    until(lambda: "» epoch" in log_of(store, "finetune")[len(before) :], process)
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE)
    return process, said


@pytest.mark.thorough
def test_fine_tuning_by_hand_saves_its_state_and_goes_on_from_it(tiny_models, small_tasks, tmp_path):
    store = tmp_path / "store"
    command = "finetune", "--task", small_tasks["ner"], "--model", tiny_models / "bert", "--epochs", 5000
    process, said = stopped_while_training(store, signal.SIGTERM, command)
    assert (process.returncode, said) == (143, LINE)
    step = newest_state(store)
    assert step > 0
    assert log_of(store, "finetune").endswith("» stopped\n")
    process, said = stopped_while_training(store, signal.SIGINT, command)
    assert (process.returncode, said) == (130, LINE)
    assert re.findall(r"resuming from checkpoint-(\d+)", log_of(store, "finetune")) == [str(step)]
    assert newest_state(store) > step


def suite_of_one(small_tasks, tiny_models, tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(f"""
name: one
description: a training that takes long
models: {{small: {{source: {tiny_models / "bert"}}}}}
tasks: [{small_tasks["ner"]}]
fractions: [100]
recipe: {{epochs: 5000}}
extract: {{probing: {{splits: {{test: 10}}, options: {{keep: [hidden]}}}}}}
""")
    return path


def workers(process):
    """The Ray workers of a process that run a job."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if " ".join(child.cmdline()).startswith("ray::finetune")]


@pytest.mark.thorough  # a job whose node is gone is tried again in test_ray_executor.py
def test_under_ray_a_worker_that_is_stopped_is_tried_again_and_the_driver_stops_them_all(
    small_tasks, tiny_models, tmp_path
):
    store = tmp_path / "store"
    process = start(*("suite", "run", suite_of_one(small_tasks, tiny_models, tmp_path), "--only", "finetune"))
    until(lambda: "» epoch" in log_of(store, "finetune"), process)
    [worker] = workers(process)
    worker.terminate()
    until(
        lambda: re.search(r"resuming from checkpoint-\d+\n.*» epoch", log_of(store, "finetune"), re.S),
        process,
    )
    [resumed] = re.findall(r"resuming from checkpoint-(\d+)", log_of(store, "finetune"))
    process.terminate()
    out, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (143, LINE), out
    assert "raylet" not in out
    assert newest_state(store) > int(resumed) > 0


WHILE_RAY_STARTS = """
import os, signal
from ray._private import node, worker
from microtome.jobs.cli import main

def then_terminated(function):
    def wrapper(*args, **more):
        function(*args, **more)
        os.kill(os.getpid(), signal.SIGTERM)
    return wrapper

{place} = then_terminated({place})
main()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("place", ["node.Node.start_gcs_server", "worker.connect"])
def test_ray_may_be_stopped_while_it_starts(small_tasks, tiny_models, tmp_path, place):
    code, suite = WHILE_RAY_STARTS.format(place=place), suite_of_one(small_tasks, tiny_models, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, "suite", "run", str(suite)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (143, LINE)


def _stopped_at(job, root, step, when):
    """Run a job that is sent SIGTERM before (or after) its optimisation step `step`."""
    real = epoch_trainer.Trainer.training_step

    def training_step(self, *args, **kwargs):
        if when == "step" and self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *args, **kwargs)

    def evaluate(self, *args, **kwargs):
        if when == "evaluation" and self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return scored(self, *args, **kwargs)

    scored = training.EpochTrainer.evaluate
    epoch_trainer.Trainer.training_step, training.EpochTrainer.evaluate = training_step, evaluate
    with stopping.listening():
        try:
            run_job(job, root)
        except KeyboardInterrupt:
            sys.exit(stopping.exit_status())


def weights(artifact):
    return load_file(artifact.path / CHECKPOINT / "model.safetensors")


@pytest.mark.forks
@pytest.mark.parametrize(
    ("when", "step", "saved", "keep"),
    [
        ("step", 11, 12, "best"),  # in the middle of the second epoch of eight steps
        ("step", 15, 16, "best"),  # the last of the second epoch: its scores come first
        ("evaluation", 16, 16, "last"),
        ("evaluation", 24, 24, "best"),  # the last of all
    ],
)
def test_a_stopped_training_ends_as_if_it_had_not_been(bench, tiny_models, tmp_path, when, step, saved, keep):
    job = bench.finetune("ner", tiny_models / "bert", epochs=3, keep=keep)
    whole = bench.run(job)
    other = type(bench)(tmp_path / "other", bench.tasks)
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_stopped_at, args=(job, other.store.root, step, when))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 143
    assert newest_state(other.store.root) == saved
    resumed = other.run(job)
    assert f"resuming from checkpoint-{saved}" in other.store.log_path(job.request).read_text()
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(resumed)[name], rtol=0, atol=0, msg=name)
    assert sorted(map(str, read_rows(resumed))) == sorted(map(str, read_rows(whole)))
    assert resumed.manifest["outputs"]["history"] == whole.manifest["outputs"]["history"]


def test_a_signal_that_a_library_swallows_still_stops_the_run(bench, tiny_models, monkeypatch):
    jobs = [bench.finetune("ner", tiny_models / "bert", fraction=0, seed=seed) for seed in (1, 2)]

    class Swallowing(LocalRunner):
        def next_finished(self):
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                return super().next_finished()

    with stopping.listening():
        with pytest.raises(KeyboardInterrupt):
            execute(jobs, set(), {}, Swallowing(bench.store.root), Silent())
        assert stopping.exit_status() == 143
    assert len(Store(bench.store.root).list("finetune")) == 1


def test_a_held_block_ends_first_and_a_second_signal_ends_it_at_once(monkeypatch):
    ended = []
    with stopping.listening():
        with pytest.raises(KeyboardInterrupt):
            with stopping.held():
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)  # passed on by whoever started us: the same wish
                ended.append("first")
        assert stopping.exit_status() == 130
    monkeypatch.setattr(stopping, "SAME_WISH_SECONDS", 0)
    with stopping.listening():
        with pytest.raises(KeyboardInterrupt):
            with stopping.held():
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)
                ended.append("second")
    assert ended == ["first"]
    stopping.stop_if_heard()  # what was heard is over
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
