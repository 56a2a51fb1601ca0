import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import time

import psutil
import pytest

from microtome.jobs.run import attempts, ray_executor
from microtome.jobs.run.executor import execute
from microtome.jobs.run.ray_executor import RayRunner
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError
from tests.jobs.run.test_failing_disks import needs_mount
from tests.jobs.suite.test_plan import Silent, run
from tests.ray_nodes import STARTED, free_port, head_command, node_command

pytestmark = pytest.mark.ray
RESOURCES = {"gpus_per_job": None, "cpus_per_job": 1}


@contextlib.contextmanager
def runner_at(root, address=None, **more):
    runner = RayRunner(root, address=address, **RESOURCES, **more)
    try:
        yield runner
    finally:
        runner.close()


@pytest.mark.thorough  # make cluster-check compares a suite on nodes with one in a process
def test_a_suite_under_ray_gives_the_artifacts_of_a_run_in_process(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    tasks = {}
    with runner_at(store.root, tasks_per_extraction=2) as runner:
        submit = runner.submit

        def counted(*jobs):
            before = len(runner._running)
            submit(*jobs)
            tasks[jobs[0].kind] = len(runner._running) - before

        runner.submit = counted
        plan, outcome = run(small_suite, store, runner=runner)
    assert outcome.ok, outcome.failed
    assert {artifact.id for artifact in store.list()} == {job.id for job in plan.jobs}
    assert tasks == {"finetune": 1, "extract": 2, "probe": 1, "attention": 1}


def test_no_ray_at_an_address_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"no Ray at '127.0.0.1:1'.*--local"):
        RayRunner(tmp_path, address="127.0.0.1:1", **RESOURCES)


class Ending:
    """Data at whose first row something ends: the worker, or the job with an exception nobody can send."""

    def __init__(self, task, how):
        self.task, self.how = task, how

    def read(self, split):
        if self.how == "worker":
            os._exit(3)

        class Unpicklable(Exception):
            def __reduce__(self):
                raise TypeError("cannot be pickled")

        raise Unpicklable("no pickle")


def listening(process):
    """The addresses that a process and its children listen on."""
    everyone = [process, *process.children(recursive=True)]
    found = [c for p in everyone for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return {connection.laddr.ip.removeprefix("::ffff:") for connection in found}


def test_a_ray_of_our_own_is_ours_alone_and_says_in_a_line_why_a_job_failed(
    bench, tiny_models, monkeypatch, capfd
):
    monkeypatch.setattr(attempts, "WITHOUT_PROGRESS", 2)
    monkeypatch.setattr(ray_executor, "WITHOUT_PROGRESS", 2)
    jobs = []
    for seed, how in enumerate(("worker", "job")):
        job = bench.finetune("ner", tiny_models / "bert", fraction=0, seed=seed)
        data = Ending(job.sources.data.task, how)
        jobs.append(dataclasses.replace(job, sources=dataclasses.replace(job.sources, data=data)))
    with runner_at(bench.store.root) as runner:
        assert listening(psutil.Process()) == {"127.0.0.1"}
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert re.fullmatch("[0-9a-f]{64}", os.environ["RAY_AUTH_TOKEN"])
        assert asked(os.environ["RAY_AUTH_TOKEN"]) == "nodes: 1\n"
        assert "AuthenticationError" in asked("0" * 64)
        outcome = execute(jobs, set(), {}, runner, Silent())
    assert {job.id: reason for job, reason in outcome.failed} == {
        jobs[
            0
        ].id: "its worker died: The worker died unexpectedly while executing this task, 2 times in a row "
        "without getting any further",
        jobs[1].id: "Unpicklable: no pickle",
    }
    assert bench.store.log_path(jobs[0].request).is_file()
    assert "raylet" not in "".join(capfd.readouterr())


ASK = """
import sys
from ray._raylet import GcsClient

print("nodes:", len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)))
"""


def asked(token):
    """What our Ray answers to another process of this machine that comes with a token."""
    import ray

    done = subprocess.run(
        [sys.executable, "-c", ASK, ray.get_runtime_context().gcs_address],
        env=os.environ | {"RAY_AUTH_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.stdout + done.stderr.strip().rpartition("\n")[2]


OWN_DISK = 'mount -t tmpfs none "$1" && shift && exec "$@"'
PATIENCE = 90  # seconds, until a test gives up


@contextlib.contextmanager
def cluster_without(tmp_path, hidden):
    """The address of a cluster of two: a head that runs no jobs, and a node that has a disk of its own in
    the place of the folder `hidden`."""
    hidden.mkdir(exist_ok=True)
    port = free_port()
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    apart = [*unshare, "sh", "-c", OWN_DISK, "sh", str(hidden)]
    commands = {"head": head_command(port), "node": [*apart, *node_command(port, cpus=2)]}
    owner = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    owner.pop("MICROTOME_MODELS", None)
    with contextlib.ExitStack() as started:
        for name, command in commands.items():
            log = started.enter_context((tmp_path / f"{name}.log").open("w"))
            process = subprocess.Popen(command, env=owner, stdout=log, stderr=log)
            started.callback(end, process)
            until_it_says(tmp_path / f"{name}.log", STARTED, process)
        yield f"127.0.0.1:{port}"


def until_it_says(log, text, process):
    deadline = time.monotonic() + PATIENCE
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def end(process):
    """End a process of Ray and what it has started."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    psutil.wait_procs([process], timeout=10)
    for child in [process, *children]:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


def run_suite(suite, cluster, *options):
    command = "suite", "run", suite, "--only", "finetune", "--address", cluster, *options
    return subprocess.run(
        [sys.executable, "-c", RUN, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"RAY_AUTH_MODE": "disabled", "COLUMNS": "400"},
        timeout=300,
    )


RUN = """
from microtome.jobs.cli import main
from microtome.jobs.run import ray_executor
ray_executor.LATE_SECONDS = 0
main()
"""


@needs_mount
def test_a_node_that_does_not_see_the_store_is_named_before_the_first_job(small_suite, tmp_path):
    with cluster_without(tmp_path, tmp_path / "store") as cluster:
        done = run_suite(small_suite, cluster)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.fullmatch(
        rf"error: \S+ \([0-9.]+\) does not see {tmp_path}/store/.notes/[0-9a-f]+, which the driver has "
        "written. Set MICROTOME_STORE to a folder that every node sees, or to object storage\n",
        done.stderr,
    )
    assert Store(tmp_path / "store").list() == []
    assert not (tmp_path / "store" / ".notes").exists()


OWN_CORPUS = """
name: own
type: classification
title: own
labels: [a, b]
licence: mine
obtain: written by a test
data:
  format: jsonl
  root: {root}
  columns: {{text_a: text, label: label}}
  target: class
  files: {{train: train.jsonl, dev: dev.jsonl, test: test.jsonl}}
recipe: {{epochs: 1, batch_size: 8, max_length: 32}}
"""
OWN_SUITE = """
name: own
description: a corpus that only the driver has
models: {{small: {{source: {model}}}}}
tasks: [{task}]
fractions: [100]
extract: {{probing: {{splits: {{test: 4}}, options: {{keep: [hidden]}}}}}}
"""


@needs_mount
@pytest.mark.thorough  # what goes to a node by its content is tested in test_content.py
def test_a_corpus_that_only_the_driver_has_goes_to_the_node_by_its_content(tiny_models, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number, split in enumerate(("train", "dev", "test")):
        rows = [{"text": f"{split} gene {i} of {number}", "label": "ab"[i % 2]} for i in range(12)]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.yaml").write_text(OWN_CORPUS.format(root=data))
    suite = tmp_path / "suite.yaml"
    suite.write_text(OWN_SUITE.format(model=tiny_models / "bert", task=tmp_path / "own.yaml"))
    with cluster_without(tmp_path, data) as cluster:
        done = run_suite(suite, cluster)
    assert "1 done, 0 failed, 0 skipped" in done.stdout, done.stdout + done.stderr


@pytest.mark.thorough
def test_jobs_that_no_node_can_run_are_named_and_run_once_one_can(bench, tiny_models, monkeypatch):
    monkeypatch.setattr(ray_executor, "NAMED_AFTER", 0.0)
    jobs = [bench.finetune("ner", tiny_models / "bert", fraction=0, seed=seed) for seed in (1, 2)]
    with runner_at(bench.store.root) as runner:
        has = ray_executor._resources_of_nodes
        monkeypatch.setattr(ray_executor, "_resources_of_nodes", list)
        for job in jobs:
            runner.submit(dataclasses.replace(job, kind="finetune"))
        told = []
        while not told:
            assert runner.next_finished() is None
            told = runner.notices()
        monkeypatch.setattr(ray_executor, "_resources_of_nodes", has)
        assert told == ["2 jobs wait for a CPU; the cluster has none"]
        finished = []
        while len(finished) < 2:
            outcome = runner.next_finished()
            finished += [outcome] if outcome is not None else []
    assert [outcome.failure for outcome in finished] == [None, None]


@contextlib.contextmanager
def ray_process(tmp_path, name, command):
    """A head or a node of a cluster, with a log of its own."""
    with (tmp_path / f"{name}.log").open("w") as log:
        owner = os.environ | {"RAY_AUTH_MODE": "disabled"}
        process = subprocess.Popen(command, env=owner, stdout=log, stderr=log)
    try:
        until_it_says(tmp_path / f"{name}.log", STARTED, process)
        yield process
    finally:
        end(process)


def kill_at_once(process):
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            each.kill()


def test_a_job_whose_node_is_gone_goes_on_on_another(bench, tiny_models, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("MICROTOME_SAVE_SECONDS", "0")
    port = free_port()
    job = bench.finetune("ner", tiny_models / "bert", epochs=5000)
    log, told = bench.store.log_path(job.request), []
    node = node_command(port)
    head = ray_process(tmp_path, "head", head_command(port))
    with head, ray_process(tmp_path, "first", node) as first:
        with runner_at(bench.store.root, address=f"127.0.0.1:{port}") as runner:

            def until_logged(text):
                deadline = time.monotonic() + PATIENCE
                while not (log.is_file() and text in log.read_text()):
                    assert runner.next_finished() is None
                    told.extend(runner.notices())
                    assert time.monotonic() < deadline, told

            runner.submit(job)
            until_logged("» epoch 2/")
            kill_at_once(first)
            with ray_process(tmp_path, "second", node):
                until_logged("resuming from checkpoint-")
    assert any("it is run again from what it has saved" in line for line in told), told
