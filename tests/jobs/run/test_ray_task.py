"""What a Ray task gives the jobs that it runs: the threads of its CPUs, and its driver's settings."""

import dataclasses
import os
from types import SimpleNamespace

import pytest
import torch
from threadpoolctl import threadpool_info

from microtome.jobs.process.tracking import track_with
from microtome.jobs.run import ray_executor
from microtome.jobs.run.ray_executor import RayRunner
from microtome.jobs.run.worker import environment_for_workers
from microtome.store.errors import InputError


class ThreadsNoted:
    """Data that say, when they are read, how many threads the job runs."""

    def __init__(self, data):
        self.task = data.task

    def read(self, split):
        pools = sorted({pool["num_threads"] for pool in threadpool_info()})
        raise InputError(f"threads: {pools} {torch.get_num_threads()} {os.environ['OMP_NUM_THREADS']}")


@pytest.mark.ray
@pytest.mark.parametrize("cpus", [2, pytest.param(1, marks=pytest.mark.thorough)])
def test_a_job_runs_the_threads_of_the_cpus_that_it_was_given(bench, tiny_models, monkeypatch, cpus):
    """Ray itself gives each task one, whatever it asks for."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    job = bench.finetune("ner", tiny_models / "bert", fraction=0)
    job = dataclasses.replace(
        job, sources=dataclasses.replace(job.sources, data=ThreadsNoted(job.sources.data))
    )
    runner = RayRunner(bench.store.root, address=None, gpus_per_job=None, cpus_per_job=cpus)
    try:
        runner.submit(job)
        while (finished := runner.next_finished()) is None:
            pass
    finally:
        runner.close()
    assert finished.failure == f"threads: [{cpus}] {cpus} {cpus}"


@pytest.fixture
def environment_of_a_job(monkeypatch, tmp_path):
    """environment_of_a_job(settings) -> the environment that a job sees in a Ray task with these settings."""
    monkeypatch.setattr(ray_executor, "_this_node", lambda: "a node")
    monkeypatch.setattr(ray_executor, "node_fault", lambda *about: "")
    seen = {}

    def run_jobs(jobs, store):
        seen.update(os.environ)
        return []

    monkeypatch.setattr(ray_executor, "run_jobs", run_jobs)

    def environment(settings):
        ray_executor._work([], SimpleNamespace(store=tmp_path), settings, 1, None)
        return seen

    return environment


def test_the_tracker_of_a_run_is_that_of_its_workers(environment_of_a_job, monkeypatch, tmp_path):
    monkeypatch.setattr("microtome.jobs.process.tracking._installed", lambda name: True)
    monkeypatch.chdir(tmp_path)
    names = ("MICROTOME_TRACK", "TENSORBOARD_LOGGING_DIR", "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME")
    with monkeypatch.context() as on_driver:
        for name in names:
            on_driver.setenv(name, "")
            on_driver.delenv(name)
        on_driver.setenv("WANDB_API_KEY", "a key")
        track_with("wandb")
        settings = environment_for_workers()
    for name in (*names, "WANDB_API_KEY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    seen = environment_of_a_job(settings)
    assert (seen["MICROTOME_TRACK"], seen["WANDB_API_KEY"]) == ("wandb", "a key")
    assert (seen["WANDB_PROJECT"], seen["MLFLOW_EXPERIMENT_NAME"]) == ("microtome", "microtome")
