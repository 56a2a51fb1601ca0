"""Runs jobs in the order of their needs. One failed job stops only what depends on it."""

import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jobs.job import KINDS, Job
from jobs.logs import logged_to, report
from jobs.memory import keep_freed_memory
from store.artifacts import Store
from store.errors import MicrotomeError, model_packages

Failure = str | None  # None, or why a job failed, in one line
Finished = tuple[Job, Failure, float]  # and how many seconds it ran


class Runner(Protocol):
    """Where jobs run. `submit` may queue; `next_finished` waits a little and may come back with nothing."""

    capacity: int

    def submit(self, job: Job) -> None: ...

    def next_finished(self) -> Finished | None: ...

    def close(self) -> None: ...


class Watcher(Protocol):
    """Who is told how far the jobs have come."""

    def submitted(self, job: Job) -> None: ...

    def finished(self, job: Job, error: Failure, seconds: float) -> None: ...


@dataclass
class Outcome:
    """What happened: ids done, and failed or skipped jobs with the reason."""

    done: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, str]] = field(default_factory=list)
    skipped: list[tuple[Job, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failed and not self.skipped


class LocalRunner:
    """Runs one job at a time in this process."""

    capacity = 1

    def __init__(self, root: Path) -> None:
        self._root = root
        self._queue: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self._queue.append(job)

    def next_finished(self) -> Finished | None:
        job = self._queue.popleft()
        return job, *run_job(job, self._root)

    def close(self) -> None:
        pass


def run_job(job: Job, root: Path) -> tuple[Failure, float]:
    """Run a job and commit its artifact; returns the failure, if there was one, and the seconds it took.

    A job whose artifact is there does nothing. Everything it prints goes to its log.
    """
    start = time.monotonic()
    keep_freed_memory()
    store = Store(root)
    failure = _run(job, store) if store.find(job.request) is None else None
    return failure, time.monotonic() - start


def _run(job: Job, store: Store) -> Failure:
    kind = KINDS[job.kind]
    try:
        with logged_to(store.log_path(job.request)):
            try:
                with store.begin(job.request, resumable=kind.resumable, shared=kind.shared) as staging:
                    if not staging.overtaken:
                        with model_packages(f"a job of kind {job.kind}"):
                            kind.load()(job, store, staging)
            except MicrotomeError as error:
                report(f"failed: {error}")
                return str(error)
            except Exception as error:
                traceback.print_exc()
                first = (str(error) or "no message").splitlines()[0]
                return f"{type(error).__name__}: {first}"
    except OSError as error:
        return f"cannot write the log {error.filename}: {error.strerror}"
    return None


def execute(
    jobs: Sequence[Job], done: set[str], unable: dict[str, str], runner: Runner, watcher: Watcher
) -> Outcome:
    """Run `jobs` that are not `done`; those in `unable` and what needs them are skipped with the reason.

    A job whose needs are neither done nor among `jobs` is skipped too.
    """
    outcome = Outcome()
    waiting = [job for job in jobs if job.id not in done]
    complete, lost = set(done), dict(unable)
    running: set[str] = set()
    coming = {job.id for job in waiting}
    while waiting or running:
        for job in list(waiting):
            reason = _lost_need(job, complete, lost, coming)
            if reason is not None:
                waiting.remove(job)
                lost[job.id] = reason
                outcome.skipped.append((job, reason))
            elif len(running) < runner.capacity and complete.issuperset(job.needs):
                waiting.remove(job)
                running.add(job.id)
                watcher.submitted(job)
                runner.submit(job)
        if not running:
            continue
        finished = runner.next_finished()
        if finished is None:
            continue
        job, error, seconds = finished
        running.remove(job.id)
        watcher.finished(job, error, seconds)
        if error is None:
            complete.add(job.id)
            outcome.done.append(job)
        else:
            lost[job.id] = f"needs {job.name}, which failed"
            outcome.failed.append((job, error))
    return outcome


def _lost_need(job: Job, complete: set[str], lost: dict[str, str], coming: set[str]) -> str | None:
    if job.id in lost:
        return lost[job.id]
    for need in job.needs:
        if need in lost:
            return lost[need]
        if need not in complete and need not in coming:
            return f"needs {need[:8]}, which is not there"
    return None
