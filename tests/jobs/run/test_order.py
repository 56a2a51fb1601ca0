"""What holds up most comes first: a simulated grid takes hardly longer than it must."""

import dataclasses
import heapq
from collections import deque
from statistics import mean

import numpy as np
import pytest

from microtome.jobs.run.executor import Finished, execute
from microtome.jobs.run.order import expected_seconds, longest_first
from microtome.store.artifacts.store import Store
from tests.jobs.suite.test_plan import Silent

SIZES = {"bert": 1.0, "biobert": 1.1, "gpt2": 3.5, "biogpt": 3.6}
FRACTIONS = (0.02, 0.1, 0.3, 0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class Cell:
    """As much of a job as the executor looks at."""

    id: str
    needs: tuple[str, ...] = ()
    kind: str = "finetune"
    request: str = ""

    @property
    def name(self):
        return self.id


class AllDone:
    root = None

    def done(self, request):
        return request


class Simulated:
    """Some workers with a clock of their own, which take jobs in the order in which they were submitted."""

    capacity = 10_000

    def __init__(self, workers, seconds):
        self.store, self.now = AllDone(), 0.0
        self._idle, self._seconds = workers, seconds
        self._queue, self._running = deque(), []

    def submit(self, *jobs):
        self._queue.extend(jobs)

    def next_finished(self):
        while self._queue and self._idle:
            job = self._queue.popleft()
            self._idle -= 1
            heapq.heappush(self._running, (self.now + self._seconds[job.id], job.id, job))
        self.now, _, job = heapq.heappop(self._running)
        self._idle += 1
        return Finished(job, None, self._seconds[job.id], "")

    def notices(self):
        return []


def grid(seed):
    """4 models x 2 tasks x 5 fractions: a training each, its extraction and its probe, with their seconds."""
    rng = np.random.default_rng(seed)
    jobs, seconds = [], {}
    for model, size in SIZES.items():
        for task in ("mednli", "jnlpba"):
            for fraction in FRACTIONS:
                name = f"{model} {task} {fraction}"
                cells = [Cell(f"train {name}"), Cell(f"extract {name}", (f"train {name}",), "probe")]
                cells.append(Cell(f"probe {name}", (f"extract {name}",), "probe"))
                for cell, scale in zip(cells, (1000 * fraction, 60, 30), strict=True):
                    seconds[cell.id] = size * scale * rng.lognormal(sigma=0.3)
                jobs += cells
    return jobs, seconds


def lower_bound(jobs, seconds, workers):
    """No order is faster than all the work spread evenly, or than the longest chain."""
    chain = {}
    for job in jobs:
        chain[job.id] = seconds[job.id] + max((chain[need] for need in job.needs), default=0.0)
    return max(sum(seconds.values()) / workers, *chain.values())


def makespan(jobs, seconds, workers, expected):
    runner = Simulated(workers, seconds)
    outcome = execute(jobs, set(), {}, runner, Silent(), expected)
    assert len(outcome.done) == len(jobs)
    return runner.now


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_the_grid_of_forty_cells_takes_at_most_three_per_cent_longer_than_it_must(workers):
    by_rank, by_plan = [], []
    for seed in range(20):
        jobs, seconds = grid(seed)
        bound = lower_bound(jobs, seconds, workers)
        by_rank.append(makespan(jobs, seconds, workers, seconds) / bound)
        by_plan.append(makespan(jobs, seconds, workers, {}) / bound)
    print(
        f"{workers} workers: {mean(by_rank):.4f} of the bound, {mean(by_plan):.4f} in the order of the plan"
    )
    assert min(by_rank) >= 1 - 1e-9
    assert mean(by_rank) <= 1.03
    assert mean(by_rank) < mean(by_plan)


def test_where_nothing_is_known_the_order_of_the_plan_stays():
    jobs, _ = grid(0)
    assert longest_first(jobs, {}) == jobs


def test_a_short_job_that_a_long_one_waits_for_comes_before_a_longer_one():
    jobs = [Cell("longer"), Cell("short"), Cell("long", ("short",))]
    assert [job.id for job in longest_first(jobs, {"longer": 5, "short": 1, "long": 10})] == [
        "short",
        "long",
        "longer",
    ]


def test_what_is_done_tells_how_long_the_rest_of_its_kind_takes(bench, tiny_models):
    jobs = [bench.finetune("ner", tiny_models / "bert", fraction=f) for f in (50, 100)]
    done = bench.run(jobs[0])
    expected = expected_seconds(jobs, Store(bench.store.root))
    assert expected[jobs[0].id] == pytest.approx(done.provenance["seconds"])
    assert expected[jobs[1].id] == pytest.approx(2 * done.provenance["seconds"])
