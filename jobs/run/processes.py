"""One job in several processes of this machine, which share a training.

Each runs the whole job on its share of every batch. The first writes into the job's staging folder; the
others have folders that are thrown away. This process starts them, passes on that it was asked to stop, sends
what was saved where it belongs, and ends all of them as soon as one fails. torch's own launcher would restart
them by rules of its own, and Ray Train needs Ray, which `--local` does without.
"""

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from microtome.jobs.kinds import kind_named
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.process import stopping
from microtome.jobs.process.logs import log_progress, logged_to
from microtome.jobs.run.worker import limited_threads
from microtome.store.artifacts.store import Staging, Store
from microtome.store.errors import InputError, MicrotomeError

LOOK_SECONDS = 0.5  # between looks at whether this process was asked to stop
LAST_SECONDS = 10.0  # for the others, once one has stopped as it was asked to


@dataclass(frozen=True)
class _Saved:
    """Files and folders that a job could go on from; the process waits until they are sent."""

    paths: Sequence[Path]


@dataclass(frozen=True)
class _Made:
    """What the first process tells of the artifact."""

    outputs: dict[str, Any]
    provenance: dict[str, Any]
    files: dict[str, Any]


@dataclass(frozen=True)
class _Failed:
    """Why a process cannot go on, and its traceback where the reason is not one of ours. `pieces` is of how
    many examples, where the memory ran out."""

    error: MicrotomeError
    text: str = ""
    pieces: int = 0


@dataclass(frozen=True)
class _Member:
    """What one process is started with."""

    job: AnyJob
    store: str | Path
    staging: Path
    folder: Path  # for what is thrown away
    size: int
    threads: int
    halvings: int
    connections: Sequence[Connection] = field(repr=False)


def run_in_processes(job: AnyJob, store: Store, staging: Staging, size: int) -> None:
    """Make the artifact of a job in `size` processes.

    Raises InputError where there are GPUs, and fewer; MicrotomeError, or the KeyboardInterrupt of a process
    that was asked to stop, as the job itself would.
    """
    _refuse_too_few_gpus(size)
    halvings = 0
    while True:
        with tempfile.TemporaryDirectory(prefix="microtome-processes-") as folder, stopping.held():
            failed = _attempt(job, store, staging, size, halvings, Path(folder))
        if failed is None:
            staging.provenance["processes"] = size
            return
        if failed.pieces <= 1:
            sys.stderr.write(failed.text)
            raise failed.error
        halvings += 1
        log_progress(f"out of GPU memory: going on with {(failed.pieces + 1) // 2} examples at a time")


def _refuse_too_few_gpus(size: int) -> None:
    import torch

    gpus = torch.cuda.device_count()
    if 0 < gpus < size:
        raise InputError(
            f"processes: {size} needs a GPU for each, and this job has {gpus}; lower processes, or give it "
            "more (suite run --gpus-per-job)"
        )


def _attempt(
    job: AnyJob, store: Store, staging: Staging, size: int, halvings: int, folder: Path
) -> _Failed | None:
    """Run the processes to their end; why one of them failed, if one did."""
    from torch.multiprocessing import start_processes

    pipes = [multiprocessing.Pipe() for _ in range(size)]
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1) // size)
    member = _Member(
        *(job, store.reference, staging.path, folder, size, threads, halvings),
        connections=[theirs for _, theirs in pipes],
    )
    # Spawned: what CUDA and threads of this process hold does not survive a fork.
    context = start_processes(_run_member, (member,), size, join=False, start_method="spawn")
    try:
        return _Watch(context.processes, [ours for ours, _ in pipes], staging).until_all_ended()
    finally:
        for process in context.processes:
            process.kill()
            process.join()


class _Watch:
    """Follows the processes of a job until the last has ended."""

    def __init__(self, processes: Sequence[Any], connections: Sequence[Connection], staging: Staging) -> None:
        self._running = {process.sentinel: process for process in processes}
        self._connections = list(connections)
        self._staging = staging
        self._passed_on = False
        self._end = float("inf")

    def until_all_ended(self) -> _Failed | None:
        """Why one failed, if one did before this process was asked to stop."""
        while self._running and time.monotonic() < self._end:
            self._pass_on_a_stop()
            for ready in wait([*self._connections, *self._running], timeout=LOOK_SECONDS):
                failed = self._read(ready) if isinstance(ready, Connection) else self._ended(ready)
                if failed is not None and not self._passed_on:
                    return failed
        return None

    def _pass_on_a_stop(self) -> None:
        if stopping.heard() and not self._passed_on:
            self._passed_on = True
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

    def _read(self, connection: Connection) -> _Failed | None:
        try:
            message = connection.recv()
        except EOFError:
            self._connections = [other for other in self._connections if other is not connection]
            return None
        if isinstance(message, _Saved):
            self._staging.send_progress(message.paths)
            connection.send(None)
        elif isinstance(message, _Made):
            self._staging.outputs.update(message.outputs)
            self._staging.provenance.update(message.provenance)
            self._staging.files.update(message.files)
        return message if isinstance(message, _Failed) else None

    def _ended(self, sentinel: Any) -> _Failed | None:
        process = self._running.pop(sentinel)
        process.join()
        if self._passed_on:  # the others wait for it in vain if they have not heard
            self._end = min(self._end, time.monotonic() + LAST_SECONDS)
        if process.exitcode == 0:
            return None
        how = f"status {process.exitcode}" if process.exitcode > 0 else signal.Signals(-process.exitcode).name
        return _Failed(
            MicrotomeError(f"one of the processes of this job ended with {how}; run the same again")
        )


def _run_member(rank: int, member: _Member) -> None:
    """One of the processes, from its beginning to its end."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(member.size), "LOCAL_WORLD_SIZE": str(member.size)}
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # they listen on the loopback alone
        os.environ.setdefault(name, "lo" if sys.platform == "linux" else "lo0")
    connection = member.connections[rank]
    with stopping.listening(), _log_of(rank, member), limited_threads(member.threads):
        try:
            connection.send(_make(rank, member, connection))
        except (Exception, SystemExit) as error:
            connection.send(_failure(error))
            signal.pause()  # its end would look like the cause of what the others say then


def _make(rank: int, member: _Member, connection: Connection) -> _Made:
    from microtome.jobs.models.sharding import Group, member_of

    def send_progress(paths: Sequence[Path]) -> None:
        connection.send(_Saved(paths))
        connection.recv()

    path = member.staging
    if rank:
        path = member.folder / f"process-{rank}"
        path.mkdir()
    staging = Staging(path, member.job.request, lambda: None, send_progress=send_progress)
    group = Group(rank, member.size, member.halvings)
    with member_of(group, member.folder / "rendezvous"):
        kind_named(member.job.kind).run(member.job, Store(member.store), staging)
    return _Made(staging.outputs, staging.provenance, staging.files) if rank == 0 else _Made({}, {}, {})


def _failure(error: BaseException) -> _Failed:
    from microtome.jobs.models.sharding import OutOfMemoryInGroupError

    if isinstance(error, OutOfMemoryInGroupError):
        why = "out of GPU memory with one example at a time; lower recipe.max_length"
        return _Failed(MicrotomeError(why), pieces=error.examples)
    if isinstance(error, MicrotomeError):
        return _Failed(error)
    text = "".join(traceback.format_exception(error))
    return _Failed(MicrotomeError(f"{type(error).__name__}: {error}"), text)


@contextlib.contextmanager
def _log_of(rank: int, member: _Member) -> Iterator[None]:
    """The first process goes on with the log of the job; what the others print is the same, and dropped."""
    if rank == 0:
        job = member.job
        with logged_to(Store(member.store).log_path(job.request), private=job.private):
            yield
        return
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
