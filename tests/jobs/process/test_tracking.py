"""What a training reports to a tracker, and what a manifest says of the device that a job ran on."""

import json
import os

import pytest
from click.testing import CliRunner
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from microtome.jobs.cli import main
from microtome.jobs.process import tracking
from microtome.jobs.process.tracking import FOLDER, VARIABLE, reporting, track_with
from microtome.store.errors import MicrotomeError, MissingError


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """What a test sets is taken back; every tracker counts as installed."""
    for name in (VARIABLE, FOLDER, "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "_installed", lambda name: True)


@pytest.fixture
def reports(monkeypatch):
    """(folder, run, logs) of everything that a stand-in for the TensorBoard of the Trainer is told."""
    noted = []

    class Recorder(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            noted.append((os.environ[FOLDER], args.run_name, dict(logs or {})))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", Recorder)
    return noted


def test_a_training_reports_under_the_name_of_its_job(bench, tiny_models, reports, tmp_path):
    track_with("tensorboard")
    job = bench.finetune("ner", tiny_models / "bert", epochs=1, max_length=48)
    artifact = bench.run(job)
    folders, runs, logs = zip(*reports, strict=True)
    assert set(runs) == {f"finetune {job.slug}"}
    assert set(folders) == {str(tmp_path / "runs" / f"finetune {job.slug}")}
    assert any("loss" in entry for entry in logs)
    assert any("eval_entity_f1" in entry for entry in logs)
    assert os.environ[FOLDER] == str(tmp_path / "runs")
    assert "track" not in json.dumps(artifact.manifest)  # what is tracked decides nothing


def test_without_a_tracker_nothing_is_reported(bench, tiny_models, reports):
    bench.run(bench.finetune("ner", tiny_models / "bert", epochs=1, max_length=48))
    assert reports == []


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_what_comes_of_data_under_an_agreement_stays_here(name):
    track_with(name)
    with reporting("a run", private=True) as tracker:
        assert tracker == "none"
    with reporting("a run", private=False) as tracker:
        assert tracker == name
    track_with("tensorboard")
    with reporting("a run", private=True) as tracker:
        assert tracker == "tensorboard"


def test_a_tracker_without_its_package_is_one_line(monkeypatch):
    monkeypatch.setattr(tracking, "_installed", lambda name: False)
    with pytest.raises(MissingError, match="--track wandb needs a package: pip install wandb"):
        track_with("wandb")
    shown = CliRunner().invoke(main, ["suite", "run", "demo", "--track", "mlflow"])
    assert shown.exit_code == 2
    assert "pip install mlflow" in shown.output
    monkeypatch.setenv(VARIABLE, "wandbb")
    with pytest.raises(MicrotomeError, match="wandbb"):
        with reporting("a run", private=False):
            pass


def test_a_manifest_says_what_the_job_took(bench, tiny_models):
    artifact = bench.run(bench.extract("ner", tiny_models / "bert", "test", max_length=48))
    noted = artifact.provenance
    assert noted["device"] == "cpu"
    assert 0 < noted["device_seconds"] <= noted["seconds"]


def test_results_say_what_each_job_took(small_suite, tmp_path, monkeypatch):
    from microtome.store.artifacts.store import Store
    from tests.jobs.suite.test_plan import run

    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "spent"))
    run(small_suite, Store(), kinds=("finetune",))
    shown = CliRunner().invoke(main, ["results", str(small_suite), "--spent", "--format", "json"])
    assert shown.exit_code == 0, shown.output
    rows = json.loads(shown.output)
    assert rows
    assert {row["kind"] for row in rows} == {"finetune"}
    for row in rows:
        assert row["device"] == "cpu"
        assert row["gpu"] is None
        assert row["attempts"] is row["seconds_lost"] is None  # it was never stopped
        assert 0 < row["device_seconds"] <= row["seconds"]
        assert row["bytes"] > 0
    table = CliRunner().invoke(main, ["results", str(small_suite), "--spent"])
    assert "device_seconds" in table.output
    refused = CliRunner().invoke(main, ["results", str(small_suite), "--spent", "--derived"])
    assert refused.exit_code == 2
