"""Jobs as Ray tasks, on this machine or on a cluster. The only file that imports ray."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from microtome.jobs.kinds import kind_named
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.process import stopping
from microtome.jobs.process.logs import last_progress
from microtome.jobs.run.executor import Failure, Finished, one_line, run_job
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError

WAIT_SECONDS = 0.5
LATE_SECONDS = 5.0  # until a network disk shows what another node has written
STOP_SECONDS = 20.0  # for jobs to save their state; a machine that is taken away gives about 30
RETRIES = 3  # of a worker or a node that dies; the job goes on where it was


@dataclass(frozen=True)
class _Answer:
    """What one Ray task sends back."""

    failure: Failure
    seconds: float
    node: str


@dataclass
class _Running:
    """A job in one or several Ray tasks that share it: which are still running, and what the others said."""

    job: AnyJob
    tasks: set[Any]
    answers: list[_Answer]


class RayRunner:
    """Submits every job that is ready; Ray starts it when its GPUs and CPUs are free.

    `gpus_per_job` below 1 lets jobs share a GPU: that is bookkeeping, not memory isolation. An extraction
    is computed by `tasks_per_extraction` Ray tasks together, each with a GPU of its own. Workers send back
    a word, never a tensor; the store must be a folder that every node sees. Without an address, and without
    RAY_ADDRESS, a Ray is started that only this run can talk to; a cluster stays as its owner set it up.
    """

    capacity = 10_000  # Ray queues

    def __init__(
        self,
        root: str | Path,
        *,
        address: str | None,
        gpus_per_job: float,
        cpus_per_job: int,
        tasks_per_extraction: int = 1,
    ) -> None:
        self.store = Store(root.absolute() if isinstance(root, Path) else root)
        self._gpus, self._cpus, self._tasks = gpus_per_job, cpus_per_job, tasks_per_extraction
        self._running: dict[Any, _Running] = {}  # by Ray task
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        try:
            _knock(address)
            with _sigterm_waits(), _private() if address == "local" else contextlib.nullcontext():
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"no Ray at '{address}': {one_line(error)}. Without one: --local") from None
        _say_deaths_once()
        self._has_gpu = ray.cluster_resources().get("GPU", 0) > 0

    def submit(self, job: AnyJob) -> None:
        kind = kind_named(job.kind)
        task = ray.remote(_work).options(
            name=job.name,
            num_cpus=self._cpus,
            num_gpus=self._gpus if kind.needs_gpu and self._has_gpu else 0,
            max_retries=RETRIES,
        )
        count = self._tasks if kind.shared else 1
        running = _Running(job, {task.remote(job, self.store.reference) for _ in range(count)}, [])
        self._running |= dict.fromkeys(running.tasks, running)

    def next_finished(self) -> Finished | None:
        with stopping.held():  # an exception out of a signal would end Ray's own code with an abort
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=WAIT_SECONDS)
            if not ready:
                return None
            running = self._running.pop(ready[0])
            running.tasks.remove(ready[0])
            running.answers.append(self._answer(running.job, ready[0]))
        if running.tasks:
            return None
        seconds = max(answer.seconds for answer in running.answers)
        # One that ended well saw the artifact in place.
        best = next((a for a in running.answers if a.failure is None), running.answers[0])
        if best.failure is None:
            self._wait_for(running.job)
        return Finished(running.job, best.failure, seconds, best.node)

    def close(self) -> None:
        """Shut down the Ray of this run; jobs that still run get some seconds to save their state."""
        try:
            for task in self._running:
                ray.cancel(task)
            if self._running:
                ray.wait(list(self._running), num_returns=len(self._running), timeout=STOP_SECONDS)
        finally:
            ray.shutdown()

    def _answer(self, job: AnyJob, task: Any) -> _Answer:
        """What a finished task sent back, or how it died."""
        try:
            return ray.get(task)
        except ray.exceptions.RayTaskError as error:  # its worker lives, but could not even begin
            why = str(error).strip().splitlines()[-1]
            return _Answer(f"its worker cannot run it: {why}", 0.0, "")
        except ray.exceptions.RayError as error:
            why = one_line(error).partition(". ")[0]
            said = last_progress(self.store.log_path(job.request))
            return _Answer(f"its worker died{f' after {said!r}' if said else ''}: {why}", 0.0, "")

    def _wait_for(self, job: AnyJob) -> None:
        """Until the artifact of a job shows here, if it soon does."""
        end = time.monotonic() + LATE_SECONDS
        while self.store.done(job.request) is None and time.monotonic() < end:
            stopping.stop_if_heard()
            time.sleep(WAIT_SECONDS)


def _work(job: AnyJob, root: str | Path) -> _Answer:
    """One Ray task. When its driver cancels it, or its worker gets a SIGTERM of its own, the job saves what
    it can; after a SIGTERM the worker is gone, and Ray tries again elsewhere."""
    node = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
    with stopping.listening():
        try:
            return _Answer(*run_job(job, root), node)
        except KeyboardInterrupt:
            if stopping.heard() is signal.SIGTERM:
                sys.exit(stopping.exit_status())
            return _Answer("stopped", 0.0, node)


@contextlib.contextmanager
def _sigterm_waits() -> Iterator[None]:
    """Keep SIGTERM waiting while Ray starts, and take it back then: Ray claims it, exits at first and from
    its connection on ends with an abort and a C++ stack. Its threads never get one; its processes do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    services, ours = ray._private.services, signal.getsignal(signal.SIGTERM)
    popen = services.ConsolePopen

    def popen_that_hears(*args: Any, preexec_fn: Any = None, **more: Any) -> Any:
        def in_child() -> None:
            if preexec_fn is not None:
                preexec_fn()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

        return popen(*args, preexec_fn=in_child, **more)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    services.ConsolePopen = popen_that_hears
    try:
        yield
    finally:
        services.ConsolePopen = popen
        signal.signal(signal.SIGTERM, ours)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """What Ray starts meanwhile listens on the loopback alone, and only to who knows this run's token.

    Ray has a switch for clusters of several machines, off on macOS and Windows; off, it never looks for an
    address that other machines can reach. A token that the user has set is used. Before 2.52 there were none.
    """
    if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray._raylet.Config.initialize("")  # it has read the environment when it was imported
    constants = ray._private.ray_constants
    several, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = several


def _say_deaths_once() -> None:
    """Keep Ray from printing paragraphs on each worker that dies: the job's failure says it, in one line."""
    worker = ray._private.worker
    shown = worker.print_to_stdstream
    if shown.__module__ == __name__:
        return

    def print_to_stdstream(data: dict[str, Any], *args: Any, **more: Any) -> None:
        first = next(iter(data["lines"]), "")
        if not first.startswith(("A worker died", "Task ")):
            shown(data, *args, **more)

    worker.print_to_stdstream = print_to_stdstream


def _knock(address: str) -> None:
    """OSError if nobody listens at HOST:PORT; Ray itself would go on trying without end."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
