"""Weights are never sent: a node finds those of a job among its own, by what they are."""

import dataclasses
import pickle
import shutil

import pytest

from microtome.jobs.run.content import ContentOfJobs, content_in_place
from microtome.store.errors import MissingError


@pytest.fixture
def job(bench, tiny_models, tmp_path, monkeypatch):
    """A job that was planned where the model is called `small`, in a folder that is not on this machine."""
    folder = tmp_path / "driver" / "small"
    shutil.copytree(tiny_models / "bert", folder)
    monkeypatch.setenv("MICROTOME_MODELS", str(folder.parent))
    planned = bench.finetune("ner", "small", fraction=0)
    assert planned.sources.model.path == folder
    shutil.rmtree(folder)
    return planned


@pytest.fixture
def models_here(tmp_path, monkeypatch):
    folder = tmp_path / "node" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setenv("MICROTOME_MODELS", str(folder))
    return folder


@pytest.fixture
def content(job):
    return ContentOfJobs().of(job)


def test_a_node_loads_the_same_weights_from_its_own_folder(job, content, models_here, tiny_models):
    shutil.copytree(tiny_models / "bert", models_here / "small")
    with content_in_place(job, content) as placed:
        assert placed.sources.model.path == models_here / "small"
        assert placed.sources.model.identity == job.sources.model.identity
        assert placed.id == job.id


def test_other_weights_under_the_same_name_are_refused(job, content, models_here, tiny_models):
    shutil.copytree(tiny_models / "gpt2", models_here / "small")
    with pytest.raises(MissingError, match="model 'small' has other weights here. microtome model fetch"):
        with content_in_place(job, content):
            pass


def test_a_model_that_a_node_has_not_is_named(job, content, models_here):
    with pytest.raises(MissingError, match="model 'small' is not here. microtome model fetch small"):
        with content_in_place(job, content):
            pass


def test_what_is_sent_holds_no_weights(job, content, tiny_models):
    sent = pickle.dumps((job, content))
    weights = (tiny_models / "bert" / "model.safetensors").read_bytes()
    assert weights[-512:] not in sent
    assert len(sent) < len(weights) / 2


def test_a_job_that_stays_on_this_machine_is_left_as_it_is(job):
    with content_in_place(job, None) as placed:
        assert placed is job
    assert dataclasses.is_dataclass(placed)
