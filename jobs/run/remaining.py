"""How long a run will still take, from the jobs of it that have ended."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import humanize

from microtome.jobs.kinds.job import AnyJob


class RemainingTime:
    """Jobs take what jobs of their kind have taken, in proportion to what was expected of them (`expected`,
    by id, in units that only need to be the same within a kind); jobs of a kind of which none has ended take
    what the others took on average. As many will run at a time as have so far."""

    def __init__(
        self,
        jobs: Sequence[AnyJob],
        expected: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = {job.id: job for job in jobs}
        self._expected = expected
        self._clock = clock
        self._begin = clock()
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)  # of the jobs that ended, by kind
        self._units: defaultdict[str, list[float]] = defaultdict(list)  # what was expected of them

    def ended(self, job: AnyJob, seconds: float) -> None:
        """A job has ended after so many seconds."""
        del self._left[job.id]
        self._seconds[job.kind].append(seconds)
        self._units[job.kind].append(self._expected.get(job.id, 1.0))

    def failed(self, job: AnyJob) -> None:
        """A job has failed: neither it nor what needs it will run."""
        gone = {job.id}
        while gone:
            self._left = {id: other for id, other in self._left.items() if id not in gone}
            gone = {id for id, other in self._left.items() if not gone.isdisjoint(other.needs)}

    def seconds(self) -> float | None:
        """From now to the end; None before the first job has ended."""
        took = [seconds for of_kind in self._seconds.values() for seconds in of_kind]
        if not took:
            return None
        average = sum(took) / len(took)
        work = sum(self._of(job, average) for job in self._left.values())
        at_a_time = max(1.0, sum(took) / max(self._clock() - self._begin, 1e-9))
        return work / at_a_time

    def __str__(self) -> str:
        seconds = self.seconds()
        if not seconds:
            return ""
        left = timedelta(seconds=seconds)
        if seconds < 90:
            return f"about {humanize.naturaldelta(left)} left"
        return f"about {humanize.precisedelta(left, minimum_unit='minutes', format='%.0f')} left"

    def _of(self, job: AnyJob, average: float) -> float:
        if job.kind not in self._seconds:
            return average
        units = sum(self._units[job.kind])
        share = self._expected.get(job.id, 1.0) / units if units else 1 / len(self._units[job.kind])
        return share * sum(self._seconds[job.kind])
