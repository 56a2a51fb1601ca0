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
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.util.scheduling_strategies

from microtome.jobs.kinds import kind_named
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.process import stopping
from microtome.jobs.process.logs import last_progress
from microtome.jobs.run.attempts import WITHOUT_PROGRESS, Attempts
from microtome.jobs.run.content import Content, ContentOfJobs, content_in_place
from microtome.jobs.run.executor import Failure, Finished, one_line
from microtome.jobs.run.memory import expected_memory
from microtome.jobs.run.node_check import Expected, node_fault, reply_to
from microtome.jobs.run.one_process import run_jobs
from microtome.jobs.run.resources import Demand, demand, gpus_of, most_gpus, what_nobody_has
from microtome.jobs.run.worker import environment_for_workers, limited_threads, use_settings
from microtome.store.artifacts.job_logs import fetch_log
from microtome.store.artifacts.saved_work import saved_work
from microtome.store.artifacts.store import Store
from microtome.store.artifacts.visibility import has_note, note_place, remove_notes, write_note
from microtome.store.errors import InputError, MicrotomeError

WAIT_SECONDS = 0.5
LATE_SECONDS = 5.0  # until a network disk shows what another node has written
STOP_SECONDS = 20.0  # for jobs to save their state; a machine that is taken away gives about 30
CHECK_SECONDS = 60.0  # for a node to start a worker and to look at the store
NAMED_AFTER = 10.0  # seconds after which jobs that no node can run are named


@dataclass(frozen=True)
class _Reply:
    """What one Ray task sends back. `died` says that its worker or its node has ended before it did."""

    failure: Failure
    seconds: float
    node: str
    died: bool = False


@dataclass
class _Running:
    """Jobs of one process, in one or several Ray tasks that share them: which are still running, and what the
    others replied, of each job in order."""

    jobs: Sequence[AnyJob]
    demand: Demand
    tasks: set[Any]
    replies: list[list[_Reply]]

    @property
    def name(self) -> str:
        more = f" and {len(self.jobs) - 1} more" if len(self.jobs) > 1 else ""
        return f"{self.jobs[0].name}{more}"


class RayRunner:
    """Submits every job that is ready; Ray starts it when its GPUs and CPUs are free.

    `gpus_per_job` below 1 lets jobs share a GPU: that is bookkeeping, not memory isolation; left out, a
    job that can use a GPU has one where the cluster has any. An extraction is computed by
    `tasks_per_extraction` Ray tasks together, each with a GPU of its own. Workers send back a word, never
    a tensor; the store must be a folder that every node sees, or on object storage, and each node shows
    that it sees it before the first job. A job whose worker or node dies is run again, as `Attempts` says.
    Without an address, and without RAY_ADDRESS, a Ray is started that only this run can talk to; a cluster
    stays as its owner set it up.
    """

    capacity = 10_000  # Ray queues

    def __init__(
        self,
        root: str | Path,
        *,
        address: str | None,
        gpus_per_job: float | None,
        cpus_per_job: int,
        tasks_per_extraction: int = 1,
    ) -> None:
        self.store = Store(root.absolute() if isinstance(root, Path) else root)
        self._cpus, self._tasks = cpus_per_job, tasks_per_extraction
        self._running: dict[Any, _Running] = {}  # by Ray task
        self._finished: deque[Finished] = deque()
        self._attempts = Attempts()
        self._notices: list[str] = []
        self._nobody_has: list[str] = []  # what no node has of what is asked for, since `_nobody_since`
        self._nobody_since = time.monotonic()
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._is_ours = address == "local"
        try:
            _refuse_if_nobody_listens(address)
            with _sigterm_waits(), _private() if self._is_ours else contextlib.nullcontext():
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"no Ray at '{address}': {one_line(error)}. Without one: --local") from None
        _say_deaths_once()
        self._gpus = self._gpus_of_jobs(gpus_per_job)
        self._expected = Expected.by_driver(self.store, secrets.token_hex(8))
        self._content = ContentOfJobs()
        self._sent: dict[str, Any] = {}  # content that Ray has, by its name
        try:
            if not self._is_ours:
                self._refuse_unfit_nodes()
        except BaseException:
            self.close()
            raise

    def submit(self, *jobs: AnyJob) -> None:
        kind = kind_named(jobs[0].kind)
        gpus = gpus_of(jobs[0].config, self._gpus) if kind.needs_gpu else 0.0
        most = max(most_gpus(job.config) for job in jobs)
        asked = demand(gpus=gpus, cpus=self._cpus, memory=max(map(self._memory, jobs)), most=most)
        running = _Running(jobs, asked, set(), [])
        for _ in range(self._tasks if kind.shared else 1):
            self._start(running)

    def next_finished(self) -> Finished | None:
        if not self._finished:
            self._wait_for_a_task()
        return self._finished.popleft() if self._finished else None

    def _wait_for_a_task(self) -> None:
        """Wait a little; if all tasks of some jobs have ended, these are finished."""
        with stopping.held():  # an exception out of a signal would end Ray's own code with an abort
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=WAIT_SECONDS)
            if not ready:
                self._name_what_nobody_has()
                return
            running = self._running.pop(ready[0])
            running.tasks.remove(ready[0])
            replies = self._replies(running.jobs, ready[0])
            if replies[0].died and self._attempts.goes_on(running.jobs[0].id, self._saved_work(running.jobs)):
                self._notices.append(
                    f"{running.name}: {replies[0].failure}; it is run again from what it has saved"
                )
                self._start(running)
                return
            running.replies.append(replies)
        if not running.tasks:
            self._finished += [
                self._finished_job(job, [replies[number] for replies in running.replies])
                for number, job in enumerate(running.jobs)
            ]

    def _saved_work(self, jobs: Sequence[AnyJob]) -> str:
        """What changes whenever more of some jobs is saved or done."""
        done = [job.id for job in jobs if len(jobs) > 1 and self.store.done(job.request) is not None]
        return " ".join(filter(None, [*done, *(saved_work(self.store, job.request) for job in jobs)]))

    def _finished_job(self, job: AnyJob, replies: Sequence[_Reply]) -> Finished:
        """What the Ray tasks of a job say of it together."""
        seconds = max(reply.seconds for reply in replies)
        # One that ended well saw the artifact in place.
        best = next((reply for reply in replies if reply.failure is None), replies[0])
        if best.died and self.store.done(job.request) is not None:  # before its worker died with another job
            best = replace(best, failure=None, died=False)
        if best.failure is None:
            self._wait_for(job)
        fetch_log(self.store, job.request)
        failure = best.failure
        if best.died:
            failure = f"{failure}, {WITHOUT_PROGRESS} times in a row without getting any further"
        elif failure and best.node and not self._is_ours:
            failure = f"{failure} (on {best.node})"
        return Finished(job, failure, seconds, best.node)

    def notices(self) -> list[str]:
        told, self._notices = self._notices, []
        return told

    def close(self) -> None:
        """Shut down the Ray of this run; jobs that still run get some seconds to save their state."""
        try:
            for task in self._running:
                ray.cancel(task)
            if self._running:
                ray.wait(list(self._running), num_returns=len(self._running), timeout=STOP_SECONDS)
            remove_notes(self.store, [self._expected.note])
        finally:
            ray.shutdown()

    def _gpus_of_jobs(self, asked: float | None) -> float:
        """What a job that can use a GPU asks for. Without a GPU it runs on CPUs, unless it is asked to
        wait for one on a cluster, to which nodes may come."""
        if asked is not None and not self._is_ours:
            return asked
        has_any = ray.cluster_resources().get("GPU", 0) > 0
        return (1.0 if asked is None else asked) if has_any else 0.0

    def _start(self, running: _Running) -> None:
        """Submit one Ray task of some jobs."""
        jobs, asked = running.jobs, running.demand
        task = (
            ray.remote(_work)
            .options(
                name=running.name,
                num_cpus=asked.cpus,
                num_gpus=asked.gpus,
                memory=asked.memory,
                max_retries=0,  # `Attempts` decides
            )
            .remote(
                jobs, self._expected, self._settings_of_workers(), asked.threads, self._content_for(jobs[0])
            )
        )
        running.tasks.add(task)
        self._running[task] = running

    def _settings_of_workers(self) -> dict[str, str] | None:
        return None if self._is_ours else environment_for_workers()

    def _content_for(self, job: AnyJob) -> Any:
        """What a worker on another machine needs of the files of this one; Ray has it once for all jobs."""
        if self._is_ours:
            return None
        name = self._content.name(job)
        if name is not None and name not in self._sent:
            self._sent[name] = ray.put(self._content.of(job))
        return Content() if name is None else self._sent[name]

    def _memory(self, job: AnyJob) -> int:
        """What a job may need, but never more than the largest node has: there it runs by itself."""
        most = max((node.get("memory", 0) for node in _resources_of_nodes()), default=0)
        return min(expected_memory(job, self.store), int(most))

    def _refuse_unfit_nodes(self) -> None:
        """InputError if a node that may get jobs does not see the store, or has another microtome."""
        write_note(self.store, self._expected.note)
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and _works(node["Resources"])}
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        check = ray.remote(_check_node)
        tasks = {
            check.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy(id, soft=False)).remote(
                self._expected, self._settings_of_workers()
            ): id
            for id in nodes
        }
        ready, late = (
            ray.wait(list(tasks), num_returns=len(tasks), timeout=CHECK_SECONDS) if tasks else ([], [])
        )
        names = {
            task: f"{nodes[id]['NodeManagerHostname']} ({nodes[id]['NodeManagerAddress']})"
            for task, id in tasks.items()
        }
        faults = [f"{names[task]} has not started a worker within {CHECK_SECONDS:g} s" for task in late]
        for task in ready:
            fault = self._reply_of_check(task, names[task]) or self._unseen_reply(tasks[task], names[task])
            faults += [fault] if fault else []
        remove_notes(self.store, [reply_to(self._expected.note, id) for id in nodes])
        if faults:
            more = (
                f" ({len(faults) - 1} more of {len(nodes)} nodes cannot run jobs either)"
                if faults[1:]
                else ""
            )
            raise InputError(f"{faults[0]}{more}")

    def _reply_of_check(self, task: Any, node: str) -> str:
        try:
            return ray.get(task)
        except ray.exceptions.RayError as error:
            return f"{node} cannot run jobs of microtome: {str(error).strip().splitlines()[-1]}"

    def _unseen_reply(self, node_id: str, node: str) -> str:
        """Why a node and this process have not one store: the note that it left is not seen here."""
        name = reply_to(self._expected.note, node_id)
        end = time.monotonic() + LATE_SECONDS
        while not has_note(self.store, name):
            if time.monotonic() >= end:
                return (
                    f"{node} wrote {note_place(self.store, name)}, which is not there on "
                    f"{socket.gethostname()}. Set MICROTOME_STORE to a folder that every node sees, or to "
                    "object storage"
                )
            time.sleep(WAIT_SECONDS)
        return ""

    def _name_what_nobody_has(self) -> None:
        """Say it, once it has been so for some seconds, that jobs wait for what no node has."""
        lines = what_nobody_has((running.demand for running in self._running.values()), _resources_of_nodes())
        if lines != self._nobody_has:
            self._nobody_has, self._nobody_since = lines, time.monotonic()
        elif lines and time.monotonic() - self._nobody_since >= NAMED_AFTER:
            self._notices += lines
            self._nobody_since = float("inf")  # once

    def _replies(self, jobs: Sequence[AnyJob], task: Any) -> list[_Reply]:
        """What a finished task sent back of each job, or how it died."""
        try:
            return ray.get(task)
        except ray.exceptions.RayTaskError as error:  # its worker lives, but could not even begin
            why = str(error).strip().splitlines()[-1]
            return [_Reply(f"its worker cannot run it: {why}", 0.0, "")] * len(jobs)
        except ray.exceptions.RayError as error:
            why = one_line(error).partition(". ")[0]
            lasts = [last_progress(self.store.log_path(job.request)) for job in jobs]
            return [
                _Reply(f"its worker died{f' after {last!r}' if last else ''}: {why}", 0.0, "", died=True)
                for last in lasts
            ]

    def _wait_for(self, job: AnyJob) -> None:
        """Until the artifact of a job shows here, if it soon does."""
        end = time.monotonic() + LATE_SECONDS
        while self.store.done(job.request) is None and time.monotonic() < end:
            stopping.stop_if_heard()
            time.sleep(WAIT_SECONDS)


def _works(resources: Mapping[str, float]) -> bool:
    """Whether a node takes jobs; a head may have been started with neither CPUs nor GPUs."""
    return resources.get("CPU", 0) > 0 or resources.get("GPU", 0) > 0


def _resources_of_nodes() -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and _works(node["Resources"])]


def _this_node() -> str:
    return f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"


def _check_node(expected: Expected, settings: dict[str, str] | None) -> str:
    """The Ray task in which a node shows that it can run jobs; why not, or an empty line."""
    use_settings(settings or {})
    return node_fault(expected, _this_node(), ray.get_runtime_context().get_node_id())


def _work(
    jobs: Sequence[AnyJob],
    expected: Expected,
    settings: dict[str, str] | None,
    threads: int,
    content: Content | None,
) -> list[_Reply]:
    """One Ray task, and what it says of each job; on a cluster with the `settings` of its driver's
    environment, and after a look at the store, since the node may have come later. When its driver cancels
    it, or its worker gets a SIGTERM of its own, a job saves what it can; after a SIGTERM the worker is gone,
    and the driver has the jobs run again elsewhere."""
    node = _this_node()
    use_settings(settings or {})
    fault = node_fault(expected, node, "") if settings is not None else ""
    if fault:
        return [_Reply(fault, 0.0, node)] * len(jobs)
    replies: dict[str, _Reply] = {}
    rest = _Reply("stopped", 0.0, node)
    with stopping.listening():
        try:
            with limited_threads(threads), contextlib.ExitStack() as stack:
                here = [stack.enter_context(content_in_place(job, content)) for job in jobs]
                for ran in run_jobs(here, expected.store):
                    replies[ran.job.id] = _Reply(ran.failure, ran.seconds, node)
        except MicrotomeError as error:
            rest = _Reply(one_line(error), 0.0, node)
        except KeyboardInterrupt:
            if stopping.heard() is signal.SIGTERM:
                sys.exit(stopping.exit_status())
    return [replies.get(job.id, rest) for job in jobs]


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
        if not first.startswith(("A worker died", "Task ", "The node with node id")):
            shown(data, *args, **more)

    worker.print_to_stdstream = print_to_stdstream


def _refuse_if_nobody_listens(address: str) -> None:
    """OSError if nobody listens at HOST:PORT; Ray itself would go on trying without end."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
