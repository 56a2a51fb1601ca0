"""How long a run will still take, from the jobs of it that have ended."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from statistics import median

import humanize

from microtome.jobs.kinds.job import AnyJob

LEAST_SHARE = 0.1  # of all work that has to have ended before anything is said: what is first is rarely usual


class RemainingTime:
    """Jobs take what jobs of their kind have taken, in proportion to what was expected of them (`expected`,
    by id); jobs of a kind of which none has ended, what half of the others have not exceeded, in the same
    proportion: one that takes very long counts no more than another. As many will run at a time as have so
    far."""

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
        """From now to the end; None before a tenth of the work has ended, as far as it is known by then."""
        ended = sum(sum(of_kind) for of_kind in self._seconds.values())
        work = sum(self._of(job) for job in self._left.values())
        if not self._seconds or ended < LEAST_SHARE * (ended + work):
            return None
        at_a_time = max(1.0, ended / max(self._clock() - self._begin, 1e-9))
        return work / at_a_time

    def __str__(self) -> str:
        seconds = self.seconds()
        if not seconds:
            return ""
        left = timedelta(seconds=seconds)
        if seconds < 90:
            return f"about {humanize.naturaldelta(left)} left"
        return f"about {humanize.precisedelta(left, minimum_unit='minutes', format='%.0f')} left"

    def _of(self, job: AnyJob) -> float:
        """The seconds that a job will take."""
        units = self._expected.get(job.id, 1.0)
        if job.kind in self._seconds:
            seconds, of_kind = self._seconds[job.kind], self._units[job.kind]
            return sum(seconds) * (units / sum(of_kind) if sum(of_kind) else 1 / len(of_kind))
        return units * self._usual_seconds_per_unit()

    def _usual_seconds_per_unit(self) -> float:
        pairs = [
            pair
            for kind in self._seconds
            for pair in zip(self._seconds[kind], self._units[kind], strict=True)
        ]
        return median(seconds / units if units else seconds for seconds, units in pairs) if pairs else 0.0
