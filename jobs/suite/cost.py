"""What the jobs of a plan that are not done will take on a named GPU: time, money, memory and disk."""

import shutil
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.suite.gpus import Gpu, gpu_of_driver
from microtome.jobs.suite.plan import Plan
from microtome.jobs.suite.workload import Workload, Workloads
from microtome.store.artifacts.store import Store

UTILISATION = 0.3  # of the peak, where nothing has been measured: fine-tuning of short texts is far from it
MODEL_KINDS = ("adapt", "finetune", "extract", "generate", "answer")  # that run a model


@dataclass(frozen=True)
class KindCost:
    """The jobs of a kind that are to be done. `memory` is that of the job that needs most; `unknown` jobs are
    in none of the numbers."""

    kind: str
    jobs: int
    tokens: float
    flops: float
    hours: float
    memory: float
    disk: float
    unknown: int


@dataclass(frozen=True)
class Cost:
    """By kind, and in all. `longest_hours` is the chain of jobs that takes longest: no number of GPUs makes
    it shorter. `measured` is how many jobs the utilisation was calibrated with. `misfits` are what would not
    fit, a sentence each."""

    gpu: str
    utilisation: float
    measured: int
    kinds: tuple[KindCost, ...]
    longest_hours: float
    misfits: tuple[str, ...]

    @property
    def hours(self) -> float:
        """GPU hours of all jobs that are counted."""
        return sum(kind.hours for kind in self.kinds)

    @property
    def disk(self) -> float:
        """Bytes of what is to be made: on a disk, or to be sent to object storage."""
        return sum(kind.disk for kind in self.kinds)


def seconds_on(gpu: Gpu, utilisation: float, flops: float, *, half: bool, read: float = 0) -> float:
    """How long a GPU takes, of whose peak a share is reached; at least as long as its memory takes to deliver
    `read` bytes, which is what counts where a model writes token by token."""
    computing = flops / ((gpu.half_tflops if half else gpu.single_tflops) * 1e12 * utilisation)
    return max(computing, read / (gpu.bandwidth_gb * 1e9))


def plan_cost(
    plan: Plan,
    store: Store,
    done: Set[str],
    cache_bytes: Mapping[str, int | None],
    gpu_name: str,
    gpu: Gpu,
    utilisation: float | None = None,
) -> Cost:
    """The cost of what is not done. The utilisation is the one given, else the median of jobs of this plan
    that ran on a GPU of the table, else UTILISATION."""
    counts = Workloads(plan.jobs, done, store)
    works = {job.id: counts.of(job, cache_bytes.get(job.id)) for job in plan.jobs if job.kind in MODEL_KINDS}
    measured = list(_measured(plan, store, done, works))
    share = utilisation or (median(measured) if measured else UTILISATION)
    todo = [job for job in plan.jobs if job.id not in done and job.kind in MODEL_KINDS]
    seconds = {
        job.id: seconds_on(gpu, share, work.flops, half=work.half, read=work.read)
        for job in todo
        if (work := works[job.id]) is not None
    }
    kinds = tuple(
        _kind_cost(kind, [job for job in todo if job.kind == kind], works, seconds)
        for kind in dict.fromkeys(job.kind for job in todo)
    )
    misfits = (*_too_large(todo, works, gpu_name, gpu), *_no_room(sum(k.disk for k in kinds), store))
    return Cost(gpu_name, share, len(measured), kinds, _longest(plan, seconds) / 3600, misfits)


def _kind_cost(
    kind: str, jobs: list[AnyJob], works: Mapping[str, Workload | None], seconds: Mapping[str, float]
) -> KindCost:
    counted = [work for job in jobs if (work := works[job.id]) is not None]
    return KindCost(
        kind,
        jobs=len(jobs),
        tokens=sum(work.tokens for work in counted),
        flops=sum(work.flops for work in counted),
        hours=sum(seconds.get(job.id, 0) for job in jobs) / 3600,
        memory=max((work.memory for work in counted), default=0),
        disk=sum(work.disk for work in counted),
        unknown=len(jobs) - len(counted),
    )


def _measured(
    plan: Plan, store: Store, done: Set[str], works: Mapping[str, Workload | None]
) -> Iterator[float]:
    """The share of its GPU's peak that each job reached which is done."""
    jobs = [job for job in plan.jobs if job.id in done and works.get(job.id) is not None]
    artifacts = store.find_all(job.request for job in jobs)
    for job in jobs:
        artifact, work = artifacts.get(job.id), works[job.id]
        noted = artifact.provenance if artifact is not None else {}
        gpu = gpu_of_driver(str(noted.get("gpu", "")))
        seconds = noted.get("device_seconds")
        if work is None or work.read:  # where memory sets the pace, the peak says nothing
            continue
        if gpu is not None and isinstance(seconds, int | float) and seconds > 0:
            yield seconds_on(gpu, 1, work.flops, half=work.half) / seconds


def _longest(plan: Plan, seconds: Mapping[str, float]) -> float:
    """Of every chain of jobs of which each needs the one before, the longest."""
    ends: dict[str, float] = {}
    for job in plan.jobs:
        ends[job.id] = seconds.get(job.id, 0) + max((ends.get(need, 0) for need in job.needs), default=0)
    return max(ends.values(), default=0)


def _too_large(
    jobs: list[AnyJob], works: Mapping[str, Workload | None], gpu_name: str, gpu: Gpu
) -> Iterator[str]:
    """One sentence for each kind and model that needs more memory than the GPU has."""
    needed: dict[tuple[str, str], float] = {}
    for job in jobs:
        work = works[job.id]
        if work is not None and work.memory > gpu.memory_gb * 1e9:
            key = job.kind, str(job.labels["model"])
            needed[key] = max(needed.get(key, 0), work.memory)
    for (kind, model), memory in needed.items():
        yield (
            f"{kind} of {model} needs about {memory / 1e9:.0f} GB of GPU memory at once; {gpu_name} has "
            f"{gpu.memory_gb:g}. Out of memory, a smaller part of a batch goes through at a time"
        )


def _no_room(disk: float, store: Store) -> Iterator[str]:
    if store.remote is not None:
        return
    folder = next(place for place in (store.root, *Path(store.root).resolve().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    if disk > free:
        yield (
            f"the results take {disk / 1e9:.1f} GB, and {store.root} has {free / 1e9:.1f} GB free. Set "
            "MICROTOME_STORE to a larger disk or to object storage"
        )
