"""A job in several processes: the artifact is that of one process, and what goes wrong is one line."""

import json
import multiprocessing
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from microtome.jobs.kinds.adapt import AdaptConfig
from microtome.jobs.models.source import CHECKPOINT
from microtome.jobs.process import stopping
from microtome.jobs.run import processes
from microtome.jobs.run.executor import run_job
from microtome.jobs.tasks import Recipe
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MicrotomeError
from microtome.store.results import read_rows
from tests.jobs.process.test_stopping import LINE, log_of, newest_state, stopped_while_training

FORK = multiprocessing.get_context("fork")
RECIPE = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}


@pytest.fixture
def model(tiny_models, tmp_path):
    """Without dropout, of which each process draws its own."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "bert", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.thorough  # test_sharding.py compares two processes with one
def test_a_fine_tuning_in_two_processes_is_that_of_one(bench, model, tmp_path):
    alone = bench.run(bench.finetune("ner", model, **RECIPE))
    bench.store = Store(tmp_path / "another")
    job = bench.finetune("ner", model, **RECIPE, processes=2)
    assert job.id == alone.id
    made = bench.run(job)
    for name, value in load_file(made.path / CHECKPOINT / "model.safetensors").items():
        wanted = load_file(alone.path / CHECKPOINT / "model.safetensors")[name]
        # The gradient of a key's bias is rounding alone, which Adam makes steps of.
        torch.testing.assert_close(value, wanted, atol=2e-4, rtol=1e-4)
    AutoModelForTokenClassification.from_pretrained(made.path / CHECKPOINT)
    assert [row["metric"] for row in read_rows(made)] == [row["metric"] for row in read_rows(alone)]
    assert made.manifest["outputs"]["training_examples"] == alone.manifest["outputs"]["training_examples"]
    assert made.manifest["provenance"]["device"] == "cpu"
    assert made.manifest["provenance"]["processes"] == 2
    assert {path.name for path in made.path.iterdir()} == {path.name for path in alone.path.iterdir()}
    log = bench.store.log_path(job.request).read_text()
    assert log.count("training examples") == 1  # of the first process alone


@pytest.mark.thorough
def test_what_goes_wrong_in_a_process_is_one_line(bench, model):
    job = bench.finetune("ner", model, **RECIPE | {"learning_rate": 1e30}, processes=2)
    error, _ = run_job(job, bench.store.root)
    assert error.startswith("training diverged: the ")
    assert bench.store.log_path(job.request).read_text().endswith(f"» failed: {error}\n")
    assert bench.store.find(job.request) is None


def test_more_processes_than_gpus_are_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="processes: 2 needs a GPU for each, and this job has 1"):
        processes._refuse_too_few_gpus(2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    processes._refuse_too_few_gpus(2)  # on CPUs


def test_where_nothing_is_trained_there_is_one_process(bench, tiny_models, monkeypatch):
    monkeypatch.setattr(processes, "run_in_processes", pytest.fail)
    bench.run(bench.finetune("ner", tiny_models / "bert", fraction=0, processes=2))


def test_processes_that_would_do_nothing_are_refused():
    with pytest.raises(InputError, match="3 processes cannot share the 2 examples of a step"):
        Recipe.parse({"batch_size": 2, "processes": 3}, where="test")
    settings = {"objective": "clm", "corpus": {"format": "synthetic"}, "base": "gpt2", "processes": 2}
    with pytest.raises(InputError, match="processes is for training all weights"):
        AdaptConfig.parse(settings | {"lora": {}}, where="test")


@pytest.mark.thorough
def test_a_signal_saves_the_state_of_all_and_the_next_run_goes_on(tiny_models, small_tasks, tmp_path):
    store = tmp_path / "store"
    options = "--task", small_tasks["ner"], "--model", tiny_models / "bert", "--epochs", 5000
    command = "finetune", *options, "--processes", 2
    process, said = stopped_while_training(store, signal.SIGTERM, command)
    assert (process.returncode, said) == (143, LINE)
    step = newest_state(store)
    assert step > 0
    process, said = stopped_while_training(store, signal.SIGINT, command)
    assert (process.returncode, said) == (130, LINE)
    assert f"resuming from checkpoint-{step}\n" in log_of(store, "finetune")
    assert newest_state(store) > step


class Staged:
    """As much of a staging folder as is told of what was made."""

    def __init__(self):
        self.outputs, self.provenance, self.files, self.sent = {}, {}, {}, []
        self.send_progress = self.sent.append


def watched(*functions):
    """What is said of processes that run functions, each with its end of a pipe."""
    pipes, staging = [multiprocessing.Pipe() for _ in functions], Staged()
    started = [
        FORK.Process(target=f, args=(theirs,)) for f, (_, theirs) in zip(functions, pipes, strict=True)
    ]
    for process in started:
        process.start()
    try:
        return processes._Watch(started, [ours for ours, _ in pipes], staging).until_all_ended(), staging
    finally:
        for process in started:
            process.kill()
            process.join()


def make(connection):
    connection.send(processes._Saved(["state"]))
    connection.recv()  # until it is sent
    connection.send(processes._Made({"a": 1}, {"b": 2}, {}))


def wait_for_ever(connection):
    signal.pause()


@pytest.mark.forks
def test_what_the_first_process_made_and_saved_is_passed_on():
    failed, staging = watched(make, lambda connection: connection.send(processes._Made({}, {}, {})))
    assert failed is None
    assert (staging.outputs, staging.provenance, staging.sent) == ({"a": 1}, {"b": 2}, [["state"]])


@pytest.mark.forks
def test_one_process_that_fails_ends_the_others():
    def fail(connection):
        connection.send(processes._Failed(InputError("no")))
        wait_for_ever(connection)

    failed, _ = watched(wait_for_ever, fail)
    assert str(failed.error) == "no"


@pytest.mark.forks
@pytest.mark.parametrize(
    ("end", "how"), [(lambda: os._exit(3), "status 3"), (lambda: os.kill(os.getpid(), 9), "SIGKILL")]
)
def test_a_process_that_just_ends_is_named(end, how):
    failed, _ = watched(lambda connection: end(), wait_for_ever)
    assert str(failed.error) == f"one of the processes of this job ended with {how}; run the same again"


@pytest.mark.forks
def test_a_signal_is_passed_on_and_what_comes_of_it_is_no_failure(monkeypatch):
    monkeypatch.setattr(stopping, "_heard", signal.SIGTERM)
    failed, _ = watched(wait_for_ever, wait_for_ever)  # which SIGTERM ends
    assert failed is None


def test_out_of_memory_all_begin_again_with_smaller_pieces(bench, tiny_models, monkeypatch):
    error, tries = MicrotomeError("out of GPU memory with one example at a time"), []

    def attempt(job, store, staging, size, halvings, folder):
        tries.append(halvings)
        pieces = 4 >> halvings
        return processes._Failed(error, pieces=pieces) if len(tries) < 4 else None

    monkeypatch.setattr(processes, "_attempt", attempt)
    with pytest.raises(MicrotomeError, match="one example at a time"):
        processes.run_in_processes(None, bench.store, None, 2)
    assert tries == [0, 1, 2]
