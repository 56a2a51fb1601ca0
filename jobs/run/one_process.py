"""Several jobs in one process, which loads their model once, and in one pass through it where that does."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from microtome.jobs.kinds import kind_named
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.kinds.shared_runs import Making, RunPass
from microtome.jobs.process.logs import log_progress, logged_to
from microtome.jobs.run.executor import Failure, one_line, run_job
from microtome.store.artifacts.job_logs import send_log
from microtome.store.artifacts.store import Store
from microtome.store.errors import MicrotomeError, model_packages


class Ran(NamedTuple):
    """A job that was run: its failure if there was one, and how long it took."""

    job: AnyJob
    failure: Failure
    seconds: float


def run_jobs(jobs: Sequence[AnyJob], root: str | Path) -> Iterator[Ran]:
    """Run jobs that share a process (see `SharedRuns`), or a single one; each is told of as it ends.

    A pass in which one job cannot be made stops none of the others: they are run by themselves then.
    """
    shared_runs = kind_named(jobs[0].kind).shared_runs if len(jobs) > 1 else None
    if shared_runs is None:
        for job in jobs:
            yield Ran(job, *run_job(job, root))
        return
    store = Store(root)
    with contextlib.ExitStack() as stack:
        run_pass: RunPass | None = None
        for pass_jobs in shared_runs.passes(jobs):
            if run_pass is None:
                with model_packages(f"a job of kind {jobs[0].kind}"):
                    run_pass = stack.enter_context(shared_runs.one_process())
            start = time.monotonic()
            if len(pass_jobs) > 1:
                _make_in_one_pass(pass_jobs, store, run_pass)
            share = (time.monotonic() - start) / len(pass_jobs)
            for job in pass_jobs:
                failure, seconds = run_job(job, root, run_pass)
                yield Ran(job, failure, share + seconds)


def _make_in_one_pass(jobs: Sequence[AnyJob], store: Store, run_pass: RunPass) -> None:
    """Make what is not there of the artifacts of some jobs together. Whatever goes wrong is in the log of the
    first; who comes after finds in the store what was made."""
    with contextlib.suppress(OSError, MicrotomeError):
        # All processes that make the same artifacts take their folders in one order.
        todo = sorted((job for job in jobs if store.done(job.request) is None), key=lambda job: job.id)
        if len(todo) < 2:
            return
        first, *others = todo
        for job in others:
            with logged_to(store.log_path(job.request), private=job.private):
                log_progress(f"made in one pass with {first.name}, whose log says how")
        try:
            with logged_to(store.log_path(first.request), private=first.private):
                _logged_pass(todo, store, run_pass)
        finally:
            for job in todo:
                send_log(store, job.request)


def _logged_pass(jobs: Sequence[AnyJob], store: Store, run_pass: RunPass) -> None:
    log_progress(f"one pass for {', '.join(job.name for job in jobs)}")
    try:
        with contextlib.ExitStack() as stack:
            makings = []
            for job in jobs:
                kind = kind_named(job.kind)
                store.make_way(job.request)
                folder = store.begin(job.request, resumable=kind.resumable, shared=kind.shared)
                makings.append(Making(job, stack.enter_context(folder)))
            makings = [making for making in makings if not making.staging.overtaken]
            if makings:
                run_pass(makings, store)
    except KeyboardInterrupt:
        log_progress("stopped")
        raise
    except (Exception, SystemExit) as error:
        log_progress(f"not in one pass: {one_line(error)}. Each is made by itself")
