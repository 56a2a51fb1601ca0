"""Runs jobs in this process, one after the other."""

import socket
from collections.abc import Iterator
from pathlib import Path

from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.run.executor import Finished
from microtome.jobs.run.one_process import Ran, run_jobs
from microtome.store.artifacts.store import Store


class LocalRunner:
    """A Runner of one job at a time, or of several that share a model."""

    capacity = 1

    def __init__(self, root: str | Path) -> None:
        self.store = Store(root)
        self._queue: list[AnyJob] = []
        self._under_way: Iterator[Ran] = iter(())

    def submit(self, *jobs: AnyJob) -> None:
        self._queue.extend(jobs)

    def next_finished(self) -> Finished | None:
        ran = next(self._under_way, None)
        if ran is None:
            self._under_way = run_jobs(tuple(self._queue), self.store.reference)
            ran = next(self._under_way)
        self._queue = [job for job in self._queue if job.id != ran.job.id]
        return Finished(ran.job, ran.failure, ran.seconds, socket.gethostname())

    def notices(self) -> list[str]:
        return []

    def close(self) -> None:
        pass
