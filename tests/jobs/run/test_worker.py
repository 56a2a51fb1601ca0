"""What a worker is given: settings of its driver, and as many threads as it has CPUs for."""

import os

import pytest
import torch
from threadpoolctl import threadpool_info

from microtome.jobs.run.worker import environment_for_workers, limited_threads, use_settings


def test_only_listed_variables_travel(monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", "/corpora")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("A_PASSWORD", "hidden")
    settings = environment_for_workers()
    assert settings["MICROTOME_DATA"] == "/corpora"
    assert settings["HF_TOKEN"] == "secret"
    assert "A_PASSWORD" not in settings


def test_what_a_node_has_set_itself_stays(monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", "/on/this/node")
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    use_settings({"MICROTOME_DATA": "/of/the/driver", "HF_HUB_OFFLINE": "1"})
    assert os.environ["MICROTOME_DATA"] == "/on/this/node"
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_keys_of_two_owners_are_never_mixed(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the node")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    use_settings({"AWS_ACCESS_KEY_ID": "of the driver", "AWS_SECRET_ACCESS_KEY": "of the driver"})
    assert os.environ["AWS_ACCESS_KEY_ID"] == "of the node"
    assert "AWS_SECRET_ACCESS_KEY" not in os.environ


@pytest.mark.parametrize("threads", [1, 2])
def test_linear_algebra_and_torch_run_the_threads_of_a_job(monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = torch.get_num_threads()
    with limited_threads(threads):
        assert {pool["num_threads"] for pool in threadpool_info()} == {threads}
        assert torch.get_num_threads() == threads
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
    assert torch.get_num_threads() == before
