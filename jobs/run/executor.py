"""Runs jobs in the order of their needs. One failed job stops only what depends on it."""

import contextlib
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from microtome.jobs.kinds import kind_named
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.kinds.shared_runs import Making, RunPass
from microtome.jobs.process import stopping
from microtome.jobs.process.logs import log_progress, logged_to
from microtome.jobs.run.order import longest_first
from microtome.jobs.run.processes import run_in_processes
from microtome.jobs.run.resources import processes_of
from microtome.store.artifacts.job_logs import fetch_log, send_log
from microtome.store.artifacts.store import Store
from microtome.store.errors import MicrotomeError, model_packages

Failure = str | None  # None, or why a job failed, in one line
LINE = 400  # characters of an error that are shown whole; its log has all of it


class Finished(NamedTuple):
    """What a runner says of a job: its failure if there was one, how long it ran, and on which machine."""

    job: AnyJob
    failure: Failure
    seconds: float
    node: str


class Runner(Protocol):
    """Where jobs run. `submit` may queue, and gets jobs that are to share a process together; `next_finished`
    waits a little and may come back with nothing."""

    capacity: int
    store: Store  # where this process looks for what the jobs have made

    def submit(self, *jobs: AnyJob) -> None: ...

    def next_finished(self) -> Finished | None: ...

    def notices(self) -> list[str]: ...  # what a person should know by now, a line each, told once

    def close(self) -> None: ...


class Watcher(Protocol):
    """Who is told how far the jobs have come."""

    def submitted(self, job: AnyJob) -> None: ...

    def finished(self, job: AnyJob, error: Failure, seconds: float) -> None: ...

    def notice(self, text: str) -> None: ...


@dataclass
class Outcome:
    """What happened: ids done, and failed or skipped jobs with the reason."""

    done: list[AnyJob] = field(default_factory=list)
    failed: list[tuple[AnyJob, str]] = field(default_factory=list)
    skipped: list[tuple[AnyJob, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failed and not self.skipped


def run_job(job: AnyJob, root: str | Path, run_pass: RunPass | None = None) -> tuple[Failure, float]:
    """Run a job and commit its artifact; returns the failure, if there was one, and the seconds it took.

    A job whose artifact is there does nothing; one that has lost files is made again. Everything it prints
    goes to its log. `run_pass` is what makes it, if not the function of its kind.
    """
    start = time.monotonic()
    return _run(job, Store(root), run_pass), time.monotonic() - start


def _run(job: AnyJob, store: Store, run_pass: RunPass | None) -> Failure:
    """Run a job with its log open. What the log cannot take never hides why the job failed."""
    log, failure = store.log_path(job.request), None
    try:
        if store.done(job.request) is None:
            fetch_log(store, job.request)  # of earlier tries on other machines, which this one goes on from
            try:
                with logged_to(log, private=job.private):
                    failure = _made(job, store, run_pass)
            finally:
                send_log(store, job.request)
    except MicrotomeError as error:
        return one_line(error)
    except OSError as error:  # on closing the log too, where a full disk shows itself last
        if failure is None and store.done(job.request) is None:
            why = error.strerror or one_line(error)
            return f"cannot write the log {log}: {why}. Set MICROTOME_STORE to a folder you can write"
    return failure


def _made(job: AnyJob, store: Store, run_pass: RunPass | None) -> Failure:
    """Make a job's artifact; the failure, if there was one, is the last line of the log."""
    try:
        kind = kind_named(job.kind)
        store.make_way(job.request)
        with store.begin(job.request, resumable=kind.resumable, shared=kind.shared) as staging:
            if not staging.overtaken:
                with model_packages(f"a job of kind {job.kind}"):
                    processes = processes_of(job.config)
                    if run_pass is None and processes > 1:
                        run_in_processes(job, store, staging, processes)
                    elif run_pass is None:
                        kind.run(job, store, staging)
                    else:
                        run_pass([Making(job, staging)], store)
        return None
    except KeyboardInterrupt:
        _say("stopped")
        raise
    except MicrotomeError as error:
        failure = one_line(error)
    except (Exception, SystemExit) as error:  # a library that gives up must not end the other jobs
        with contextlib.suppress(OSError):
            traceback.print_exc()
        failure = f"{type(error).__name__}: {one_line(error)}"
    _say(f"failed: {failure}")
    return failure


def _say(text: str) -> None:
    """Into the log, if that can be written."""
    with contextlib.suppress(OSError):
        log_progress(text)


def one_line(error: BaseException) -> str:
    """What an error says, in one line; of a long one that is not ours its beginning and its last line,
    which tends to say what it was about."""
    try:
        text = str(error)
    except Exception as broken:  # an error whose own text fails
        text = f"its message cannot be shown ({type(broken).__name__})"
    text = text.encode("utf-8", "backslashreplace").decode()  # a file's name may hold what no terminal takes
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    whole = " ".join(lines) or "no message"
    if len(whole) <= LINE or isinstance(error, MicrotomeError):
        return whole
    half = LINE // 2
    last = lines[-1] if len(lines) > 1 else whole
    return f"{whole[:half]} ... {last[-half:]}"


def execute(
    jobs: Sequence[AnyJob],
    done: set[str],
    unable: dict[str, str],
    runner: Runner,
    watcher: Watcher,
    seconds: Mapping[str, float] = MappingProxyType({}),
) -> Outcome:
    """Run `jobs` that are not `done`; those in `unable` and what needs them are skipped with the reason.

    A job whose needs are neither done nor among `jobs` is skipped too. Done is what is found in the store
    afterwards, whatever the runner says. What holds up most, by the `seconds` that are expected of each
    id, is submitted first. KeyboardInterrupt if this process is asked to stop.
    """
    outcome = Outcome()
    waiting = longest_first([job for job in jobs if job.id not in done], seconds)
    complete, lost = set(done), dict(unable)
    running: set[str] = set()
    coming = {job.id for job in waiting}
    keys = {job.id: process_key(job) for job in waiting}
    while waiting or running:
        stopping.stop_if_heard()
        for job in list(waiting):
            if job.id in running:  # with one before it
                continue
            reason = _lost_need(job, complete, lost, coming)
            if reason is not None:
                waiting.remove(job)
                lost[job.id] = reason
                outcome.skipped.append((job, reason))
            elif len(running) < runner.capacity and complete.issuperset(job.needs):
                together = [job]
                if keys[job.id]:
                    together += [
                        other
                        for other in waiting
                        if other is not job
                        and keys[other.id] == keys[job.id]
                        and other.id not in lost
                        and complete.issuperset(other.needs)
                    ]
                for each in together:
                    waiting.remove(each)
                    running.add(each.id)
                    watcher.submitted(each)
                runner.submit(*together)
        if not running:
            continue
        finished = runner.next_finished()
        for text in runner.notices():
            watcher.notice(text)
        if finished is None:
            continue
        job = finished.job
        error = finished.failure or _not_found(finished, runner.store)
        running.remove(job.id)
        watcher.finished(job, error, finished.seconds)
        if error is None:
            complete.add(job.id)
            outcome.done.append(job)
        else:
            lost[job.id] = f"needs {job.name}, which failed"
            outcome.failed.append((job, error))
    return outcome


def process_key(job: AnyJob) -> str:
    """Jobs with the same one share a process; empty for a job that is run by itself."""
    shared_runs = kind_named(job.kind).shared_runs
    return f"{job.kind} {shared_runs.process_key(job)}" if shared_runs is not None else ""


def _not_found(finished: Finished, store: Store) -> Failure:
    """A failure if a job that is said to be done has left nothing in the store of this process."""
    try:
        if store.done(finished.job.request) is not None:
            return None
    except MicrotomeError as error:
        return one_line(error)
    folder = store.root.resolve() / finished.job.kind / finished.job.request.folder
    if store.remote is not None:
        return f"{finished.node} says that it is done, and it is not in {store.reference}; run the same again"
    return (
        f"{finished.node} wrote {folder}, which is not there on {socket.gethostname()}. "
        "Set MICROTOME_STORE to a folder that every node sees"
    )


def _lost_need(job: AnyJob, complete: set[str], lost: dict[str, str], coming: set[str]) -> str | None:
    if job.id in lost:
        return lost[job.id]
    for need in job.needs:
        if need in lost:
            return lost[need]
        if need not in complete and need not in coming:
            return f"needs {need[:8]}, which is not there"
    return None
