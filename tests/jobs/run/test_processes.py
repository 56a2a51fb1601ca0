"""A job in several processes: the artifact is that of one process, and what goes wrong is one line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from microtome.jobs.kinds.adapt import AdaptConfig
from microtome.jobs.models.source import CHECKPOINT
from microtome.jobs.run import processes
from microtome.jobs.run.executor import run_job
from microtome.jobs.tasks import Recipe
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError
from microtome.store.results import read_rows

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


def test_a_fine_tuning_in_two_processes_is_that_of_one(bench, model, tmp_path):
    alone = bench.run(bench.finetune("ner", model, **RECIPE))
    bench.store = Store(tmp_path / "another")
    job = bench.finetune("ner", model, **RECIPE, processes=2)
    assert job.id == alone.id
    made = bench.run(job)
    for name, value in load_file(made.path / CHECKPOINT / "model.safetensors").items():
        wanted = load_file(alone.path / CHECKPOINT / "model.safetensors")[name]
        torch.testing.assert_close(value, wanted, atol=2e-5, rtol=1e-4)
    AutoModelForTokenClassification.from_pretrained(made.path / CHECKPOINT)
    assert [row["metric"] for row in read_rows(made)] == [row["metric"] for row in read_rows(alone)]
    assert made.manifest["outputs"]["training_examples"] == alone.manifest["outputs"]["training_examples"]
    assert made.manifest["provenance"]["device"] == "cpu"
    assert {path.name for path in made.path.iterdir()} == {path.name for path in alone.path.iterdir()}
    log = bench.store.log_path(job.request).read_text()
    assert log.count("training examples") == 1  # of the first process alone


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
