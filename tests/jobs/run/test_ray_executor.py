import contextlib
import dataclasses
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from microtome.jobs.run import attempts, ray_executor
from microtome.jobs.run.executor import execute
from microtome.jobs.run.ray_executor import RayRunner
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError
from tests.jobs.run.test_failing_disks import needs_mount
from tests.jobs.suite.test_plan import Silent, run

RAY = str(Path(sys.executable).with_name("ray"))
RESOURCES = {"gpus_per_job": 1, "cpus_per_job": 1}


@contextlib.contextmanager
def runner_at(root, address=None, **more):
    runner = RayRunner(root, address=address, **RESOURCES, **more)
    try:
        yield runner
    finally:
        runner.close()


def test_a_suite_under_ray_gives_the_artifacts_of_a_run_in_process(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    tasks = {}
    with runner_at(store.root, tasks_per_extraction=2) as runner:
        submit = runner.submit

        def counted(job):
            before = len(runner._running)
            submit(job)
            tasks[job.kind] = len(runner._running) - before

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


@pytest.fixture
def cluster(tmp_path):
    """The address of a cluster of two: a head that runs no jobs, and a node whose `<tmp>/store` is a disk of
    its own."""
    (tmp_path / "store").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = ["--block", "--disable-usage-stats", "--object-store-memory", "80000000"]
    head = [RAY, "start", "--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false"]
    apart = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        OWN_DISK,
        "sh",
        tmp_path / "store",
    ]
    node = [*apart, RAY, "start", "--address", f"127.0.0.1:{port}", "--num-cpus", "2"]
    owner = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    with contextlib.ExitStack() as started:
        for name, command in (("head", head), ("node", node)):
            log = started.enter_context((tmp_path / f"{name}.log").open("w"))
            process = subprocess.Popen([*command, *common], env=owner, stdout=log, stderr=log)
            started.callback(end, process)
            until_it_says(tmp_path / f"{name}.log", "Ray runtime started", process)
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


RUN = """
import sys
from pathlib import Path
from microtome.jobs.cli import main
from microtome.jobs.run import attempts, ray_executor
ray_executor.LATE_SECONDS = 0
main()
"""


@needs_mount
def test_what_a_node_writes_to_a_disk_of_its_own_is_not_done(small_suite, tmp_path, cluster):
    command = "suite", "run", small_suite, "--only", "finetune", "--address", cluster
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"RAY_AUTH_MODE": "disabled", "COLUMNS": "400"},
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 done, 6 failed, 0 skipped" in done.stdout
    lines = [line for line in done.stdout.splitlines() if "failed " in line and " wrote " in line]
    store = tmp_path / "store" / "finetune"
    assert len(lines) == 6
    for line in lines:
        assert re.search(
            rf"{socket.gethostname()} \([0-9.]+\) wrote {store}/small-\S+, which is not there", line
        )
        assert "Set MICROTOME_STORE to a folder that every node sees" in line
    assert Store(tmp_path / "store").list() == []
