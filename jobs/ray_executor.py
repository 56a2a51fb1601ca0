"""Jobs as Ray tasks, on this machine or on a cluster. The only file that imports ray."""

import logging
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from jobs.executor import Failure, Finished, run_job
from jobs.job import KINDS, Job
from store.errors import InputError

WAIT_SECONDS = 0.5


@dataclass
class _Running:
    """A job in one or several Ray tasks that share it: which are still running, and what the others said."""

    job: Job
    tasks: set[Any]
    failures: list[Failure]
    seconds: float = 0.0


class RayRunner:
    """Submits every job that is ready; Ray starts it when its GPUs and CPUs are free.

    `gpus_per_job` below 1 lets jobs share a GPU: that is bookkeeping, not memory isolation. An extraction
    is computed by `tasks_per_extraction` Ray tasks together, each with a GPU of its own. Workers send back
    a word, never a tensor; the store must be a folder that every node sees.
    """

    capacity = 10_000  # Ray queues

    def __init__(
        self,
        root: Path,
        *,
        address: str | None,
        gpus_per_job: float,
        cpus_per_job: int,
        tasks_per_extraction: int = 1,
    ) -> None:
        self._root = root.absolute()
        self._gpus, self._cpus, self._tasks = gpus_per_job, cpus_per_job, tasks_per_extraction
        self._running: dict[Any, _Running] = {}  # by Ray task
        try:
            _knock(address)
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (OSError, ValueError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise InputError(f"no Ray at '{address}': {first}. Without one: --local") from None
        self._has_gpu = ray.cluster_resources().get("GPU", 0) > 0

    def submit(self, job: Job) -> None:
        kind = KINDS[job.kind]
        task = ray.remote(run_job).options(
            name=job.name,
            num_cpus=max(self._cpus, kind.cpus),
            num_gpus=kind.gpus * self._gpus if self._has_gpu else 0,
            max_retries=1,  # for a worker or a node that dies; the job resumes where it was
        )
        count = self._tasks if kind.shared else 1
        running = _Running(job, {task.remote(job, self._root) for _ in range(count)}, [])
        self._running |= dict.fromkeys(running.tasks, running)

    def next_finished(self) -> Finished | None:
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=WAIT_SECONDS)
        if not ready:
            return None
        running = self._running.pop(ready[0])
        running.tasks.remove(ready[0])
        try:
            failure, seconds = ray.get(ready[0])
        except ray.exceptions.RayError as error:
            failure, seconds = f"its worker died: {str(error).splitlines()[0]}", 0.0
        running.failures.append(failure)
        running.seconds = max(running.seconds, seconds)
        if running.tasks:
            return None
        done = None in running.failures  # one that ended well saw the artifact in place
        return running.job, None if done else running.failures[0], running.seconds

    def close(self) -> None:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """OSError if nobody listens at HOST:PORT; Ray itself would go on trying without end."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
