"""How long a run will still take: simulated runs, and what a person reads."""

import heapq
from types import SimpleNamespace

import numpy as np
import pytest

from microtome.jobs.run.remaining import RemainingTime

SECONDS = {"finetune": 60.0, "extract": 20.0, "probe": 5.0}


def grid(count=40):
    """Jobs of a study: every fine-tuning has an extraction, and that two probes."""
    jobs = []
    for n in range(count):
        jobs.append(SimpleNamespace(id=f"t{n}", kind="finetune", needs=()))
        jobs.append(SimpleNamespace(id=f"e{n}", kind="extract", needs=(f"t{n}",)))
        jobs += [SimpleNamespace(id=f"p{n}.{k}", kind="probe", needs=(f"e{n}",)) for k in range(2)]
    return jobs


def simulated(workers, seed):
    """Estimates while jobs run, in the order of the grid, on `workers`: (now, estimate), and the end."""
    rng, jobs, now = np.random.default_rng(seed), grid(), [0.0]
    expected = {job.id: float(rng.uniform(0.5, 2)) for job in jobs}
    remaining = RemainingTime(jobs, expected, clock=lambda: now[0])
    running, waiting, told = [], list(jobs), []
    while running or waiting:
        while waiting and len(running) < workers:
            job = waiting.pop(0)
            seconds = SECONDS[job.kind] * expected[job.id] * rng.uniform(0.8, 1.25)
            heapq.heappush(running, (now[0] + seconds, job.id, job, seconds))
        now[0], _, job, seconds = heapq.heappop(running)
        remaining.ended(job, seconds)
        told.append((now[0], remaining.seconds()))
    return told, now[0]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_half_way_the_estimate_is_within_a_quarter(workers, seed):
    told, end = simulated(workers, seed)
    at, estimate = min(told, key=lambda pair: abs(pair[0] - end / 2))
    assert estimate == pytest.approx(end - at, rel=0.25)
    assert told[-1][1] == 0


def like_the_demo():
    """(job, expected, seconds): a first training that takes far longer than was expected, as everything is
    loaded for the first time; others; then what reads them; and untrained models, which nothing waits for."""
    groups = [("adapt", 1, 0.9, 34.2), ("adapt", 1, 0.9, 10.3), ("finetune", 4, 0.9, 18.5)]
    groups += [("extract", 32, 0.1, 0.9), ("probe", 8, 0.1, 5.0), ("attention", 6, 0.1, 0.6)]
    groups += [("finetune", 4, 0.01, 3.1)]
    for number, (kind, count, expected, seconds) in enumerate(groups):
        for n in range(count):
            yield SimpleNamespace(id=f"{kind}{number}.{n}", kind=kind, needs=()), expected, seconds


def trainings_first():
    """The same of a study in which trainings are most of the work."""
    groups = [("adapt", 1, 0.3, 60.0), ("finetune", 24, 0.3, 8.0), ("extract", 60, 0.1, 2.0)]
    groups += [("probe", 40, 0.1, 1.0), ("attention", 20, 0.1, 1.0)]
    for kind, count, expected, seconds in groups:
        for n in range(count):
            yield SimpleNamespace(id=f"{kind}{n}", kind=kind, needs=()), expected, seconds


@pytest.mark.parametrize("run", [like_the_demo, trainings_first])
@pytest.mark.parametrize("workers", [1, 2])
def test_no_estimate_misleads(run, workers):
    """None is off by more than a quarter of the run, unless it is within half and twice what is left."""
    now, jobs = [0.0], list(run())
    expected = {job.id: units for job, units, _ in jobs}
    remaining = RemainingTime([job for job, _, _ in jobs], expected, clock=lambda: now[0])
    end = sum(seconds for _, _, seconds in jobs) / workers
    told = []
    for job, _, seconds in jobs:
        now[0] += seconds / workers
        remaining.ended(job, seconds)
        told.append((end - now[0], remaining.seconds()))
    assert told[0][1] is None
    estimates = [(left, estimate) for left, estimate in told[:-1] if estimate is not None]
    assert len(estimates) > 0.8 * len(jobs)
    for left, estimate in estimates:
        assert left / 2 < estimate < left * 2 or abs(estimate - left) < end / 4, (left, estimate)


def test_nothing_is_said_before_a_job_has_ended_nor_after_the_last():
    [job, other] = (SimpleNamespace(id=name, kind="probe", needs=()) for name in "ab")
    now = [0.0]
    remaining = RemainingTime([job, other], {}, clock=lambda: now[0])
    assert (remaining.seconds(), str(remaining)) == (None, "")
    now[0] = 4000.0
    remaining.ended(job, 4000.0)
    assert str(remaining) == "about 1 hour and 7 minutes left"
    remaining.ended(other, 1.0)
    assert str(remaining) == ""


def test_what_needs_a_failed_job_will_take_no_time():
    jobs = grid(2)
    now = [60.0]
    remaining = RemainingTime(jobs, {}, clock=lambda: now[0])
    now[0] = 120.0
    remaining.ended(jobs[0], 60.0)
    before = remaining.seconds()
    remaining.failed(jobs[4])  # the second training: its extraction and two probes will not run
    assert (before, remaining.seconds()) == (7 * 60, 3 * 60)
