"""`make cluster-check`: a suite on three Ray nodes, of which two are killed, is the suite on one disk.

The nodes are on the loopback and have no disk in common; the store is moto's server of S3. The run has to
end with `0 failed`, and with the ids, arrays and rows of a run in one process. Prints where nodes were
killed and what of their work was done twice.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from microtome.jobs.kinds import KINDS
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.remote.remote import objects_at
from tests.object_storage import environment, make_bucket, serving_s3
from tests.ray_nodes import STARTED, free_port, head_command, node_command
from tests.small_demo import write_small_demo

MICROTOME = (sys.executable, "-c", "from microtome.jobs.cli import main; main()")
NODES = 3
KILLED_WITH = (
    "adapt finetune",
    "extract",
)  # the kinds of job that the first and the second victim are running
PATIENCE = 14 * 60.0  # seconds, for all of it
STORE = "s3://studies/check"


@dataclass
class Node:
    """A Ray node, and the folder that is its disk."""

    process: subprocess.Popen[bytes]
    disk: Path
    log: Path

    def wait_until_started(self) -> None:
        end = time.monotonic() + 180
        while STARTED not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"a Ray node does not start:\n{self.log.read_text()}")
            time.sleep(0.1)

    def jobs(self) -> list[str]:
        """The names of the jobs that its workers are running."""
        names = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for worker in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    title = " ".join(worker.cmdline()).strip()
                    job = title.removeprefix("ray::")
                    if job != title and job.partition(" ")[0] in KINDS:  # and none of Ray's own
                        names.append(job)
        return names

    def kill(self) -> None:
        """As a machine that is taken away: nothing on it gets a chance to do anything."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def node_at(folder: Path, name: str, command: list[str], settings: dict[str, str]) -> Iterator[Node]:
    """A Ray node that this command starts, and a disk of its own."""
    disk = folder / name
    disk.mkdir()
    own = {"MICROTOME_SCRATCH": str(disk), "RAY_AUTH_MODE": "disabled"}
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | settings | own, stdout=log, stderr=log)
    node = Node(process, disk, folder / f"{name}.log")
    try:
        yield node
    finally:
        node.kill()


def run_locally(suite: Path, folder: Path) -> Store:
    """The suite in one process; with one thread, as a worker has, since sums depend on how they are split."""
    own = {"MICROTOME_STORE": str(folder / "local"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([*MICROTOME, "suite", "run", str(suite), "--local"], env=os.environ | own, check=True)
    return Store(folder / "local")


def run_on_nodes(
    suite: Path,
    address: str,
    nodes: list[Node],
    settings: dict[str, str],
    log: Path,
    of_each: Mapping[str, int],
) -> list[str]:
    """The suite on the nodes, two of which are killed on the way; what was running where it was killed.
    `of_each` says how many jobs there are of each kind."""
    command = [*MICROTOME, "suite", "run", str(suite), "--address", address]
    own = {"MICROTOME_STORE": STORE, "MICROTOME_SCRATCH": str(log.parent / "driver"), "COLUMNS": "200"}
    environ = os.environ | settings | own | {"RAY_AUTH_MODE": "disabled", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as stream:
        driver = subprocess.Popen(command, env=environ, stdout=stream, stderr=stream)
    try:
        kills = kill_on_the_way(driver, nodes, log, of_each)
    finally:
        driver.kill()
    print(log.read_text())
    if driver.returncode != 0 or " 0 failed" not in log.read_text():
        raise SystemExit(f"the run on nodes ended with {driver.returncode}")
    if len(kills) < len(KILLED_WITH):
        raise SystemExit("the suite was done before two nodes could be killed")
    return kills


def kill_on_the_way(
    driver: subprocess.Popen[bytes], nodes: list[Node], log: Path, of_each: Mapping[str, int]
) -> list[str]:
    """Kill two nodes while the driver runs, and wait for it; what was running on each."""
    kills: list[str] = []
    alive, end = list(nodes), time.monotonic() + PATIENCE
    while driver.poll() is None:
        if time.monotonic() > end:
            raise SystemExit(f"not done after {PATIENCE:g} s:\n{log.read_text()}")
        if len(kills) < len(KILLED_WITH):
            victim = busy_with(alive, KILLED_WITH[len(kills)], of_each)
            if victim is not None:
                kills.append(", ".join(victim.jobs()) or "a job that had just ended")
                print(f"kills a node that runs {kills[-1]}", flush=True)
                victim.kill()
                alive.remove(victim)
        time.sleep(0.05)
    return kills


def busy_with(nodes: list[Node], kinds: str, of_each: Mapping[str, int]) -> Node | None:
    """A node that runs a job of one of these kinds, of which something is saved already. Where half of the
    jobs of its kind are done, as on a machine too busy to see a save in time, nothing need be saved."""
    running = [(node, job) for node in nodes for job in node.jobs() if job.partition(" ")[0] in kinds.split()]
    if not running:
        return None
    objects = objects_at(STORE)
    saved = {entry.key.split("/")[2].rpartition("-")[0] for entry in objects.list("progress")}
    done = Counter(entry.key.split("/")[1] for entry in objects.list("artifacts"))
    for node, job in running:
        kind, _, slug = job.partition(" ")
        if slug in saved or done[kind] >= of_each[kind] / 2:
            return node
    return None


def differences(local: Store, remote: Store) -> list[str]:
    """What the two stores differ in: ids, and every array of every cache."""
    ours = {artifact.id: artifact for artifact in local.list()}
    theirs = {artifact.id: artifact for artifact in remote.list()}
    lines = [f"only local: {ours[id].name}" for id in ours.keys() - theirs.keys()]
    lines += [f"only on the nodes: {theirs[id].name}" for id in theirs.keys() - ours.keys()]
    for id in ours.keys() & theirs.keys():
        if ours[id].kind != "extract":
            continue
        one, two = ActivationCache(ours[id].path), ActivationCache(theirs[id].path)
        hidden = all(np.array_equal(one.hidden(n), two.hidden(n)) for n in one.layout.hidden_layers)
        attention = all(
            np.array_equal(a, b)
            for n in one.layout.attention_layers
            for (_, a), (_, b) in zip(one.iter_attention(n), two.iter_attention(n), strict=True)
        )
        if not (hidden and attention):
            lines.append(f"other arrays: {ours[id].name}")
    return lines


def results_of(suite: Path, settings: dict[str, str]) -> str:
    command = [*MICROTOME, "results", str(suite), "--format", "csv"]
    return subprocess.run(
        command, env=os.environ | settings, check=True, capture_output=True, text=True
    ).stdout


def report(kills: list[str], remote: Store, seconds: float) -> None:
    for number, running in enumerate(kills, start=1):
        print(f"node {number} killed while it ran: {running}")
    again = [artifact for artifact in remote.list() if "attempts" in artifact.provenance]
    for artifact in again:
        made = artifact.provenance
        times = f"{made['seconds']:.2f} s, of which {made['seconds_lost']:.2f} lost"
        print(f"{artifact.name}: {made['attempts']} attempts, {times}")
    print(f"{len(kills)} nodes killed, 0 failed, arrays and rows as of a local run; {seconds:.0f} s in all")


def main() -> None:
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with contextlib.ExitStack() as open_things:
        folder = Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="cluster-check-")))
        server = open_things.enter_context(serving_s3())
        settings = environment(server) | {"MICROTOME_SAVE_SECONDS": "1"}
        os.environ |= settings | {"MICROTOME_SCRATCH": str(folder / "looking")}
        make_bucket(server, "studies")
        suite = folder / "demo.yaml"
        write_small_demo(suite)
        local = run_locally(suite, folder)
        port = free_port()
        head = node_at(folder, "head", head_command(port), settings)
        open_things.enter_context(head).wait_until_started()
        nodes = []
        # One by one: Ray gives each half a minute, which together they may not meet.
        for number in range(NODES):
            node = node_at(folder, f"node-{number}", node_command(port), settings)
            nodes.append(open_things.enter_context(node))
            nodes[-1].wait_until_started()
        print(f"{NODES} nodes have started", flush=True)
        of_each = Counter(artifact.kind for artifact in local.list())
        address = f"127.0.0.1:{port}"
        kills = run_on_nodes(suite, address, nodes, settings, folder / "run.log", of_each)
        remote = Store(STORE)
        wrong = differences(local, remote)
        rows = [results_of(suite, {"MICROTOME_STORE": place}) for place in (STORE, str(folder / "local"))]
        if rows[0] != rows[1]:
            wrong.append("the rows of results differ")
        if wrong:
            raise SystemExit("\n".join(wrong))
        report(kills, remote, time.monotonic() - began)


if __name__ == "__main__":
    main()
