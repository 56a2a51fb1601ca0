"""In which order jobs that are ready are started: what holds up most comes first.

A job's rank is how long it and the longest chain of jobs that wait for it will take. Where nothing is
known of a duration, jobs stay in the order of the plan.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from microtome.jobs.kinds import kind_named
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.models.compute import TRAINING_PASSES
from microtome.jobs.run.memory import weights_bytes
from microtome.store.artifacts.store import Store
from microtome.store.errors import MicrotomeError


def longest_first(jobs: Sequence[AnyJob], seconds: Mapping[str, float]) -> list[AnyJob]:
    """The jobs by descending rank; `seconds` are the expected ones by id."""
    dependents: defaultdict[str, list[str]] = defaultdict(list)
    for job in jobs:
        for need in job.needs:
            dependents[need].append(job.id)
    ranks: dict[str, float] = {}

    def rank(job: str) -> float:
        if job not in ranks:
            ranks[job] = seconds.get(job, 0.0) + max(map(rank, dependents[job]), default=0.0)
        return ranks[job]

    return sorted(jobs, key=lambda job: -rank(job.id))


def expected_seconds(jobs: Sequence[AnyJob], store: Store) -> dict[str, float]:
    """How long each job will take, by its id: what jobs of its kind in `jobs` that are done took for each
    unit of their work; where none of its kind is done, what those of other kinds took; and work alone where
    none is done at all."""
    done = store.find_all(job.request for job in jobs)
    work = {job.id: _work(job, store) for job in jobs}
    took: defaultdict[str, list[float]] = defaultdict(list)
    for job in jobs:
        if job.id in done:
            took[job.kind].append(done[job.id].provenance.get("seconds", 0.0) / work[job.id])
    per_unit = {kind: median(values) for kind, values in took.items()}
    of_any = median(per_unit.values()) if per_unit else 1.0
    return {job.id: work[job.id] * per_unit.get(job.kind, of_any) for job in jobs}


def _work(job: AnyJob, store: Store) -> float:
    """The weights that are run, how often, on what share of the data; a pass of training takes three."""
    try:
        weights = weights_bytes(job.sources.start, store) if job.sources.start is not None else 0
    except MicrotomeError:
        weights = 0
    work = max(weights / 1e9, 0.1)
    if kind_named(job.kind).stage != "training":
        return work
    settings = getattr(job.config, "recipe", job.config)
    share = max(float(getattr(job.config, "fraction", 100.0)), 1.0) / 100
    return work * share * TRAINING_PASSES * float(getattr(settings, "epochs", 1.0))
