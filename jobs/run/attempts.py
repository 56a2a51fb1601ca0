"""Which jobs are run again after their worker or its node has died: those that make progress."""

from dataclasses import dataclass, field

WITHOUT_PROGRESS = 5  # deaths in a row at one point; then the job is what kills its workers


@dataclass
class Attempts:
    """The deaths of the workers of each job, by its id.

    A death is no failure of the job, so that there is no fixed number of them. Only a job whose workers die
    again and again while nothing more of it is saved is given up.
    """

    _saved: dict[str, str] = field(default_factory=dict)  # the work that was saved at the last death
    _in_vain: dict[str, int] = field(default_factory=dict)

    def goes_on(self, job: str, saved_work: str) -> bool:
        """Whether a job is run again after a death; `saved_work` changes whenever more of it is saved."""
        if saved_work == self._saved.get(job, ""):
            self._in_vain[job] = self._in_vain.get(job, 0) + 1
        else:
            self._in_vain[job] = 1  # this death came after progress, and may be the first at this point
        self._saved[job] = saved_work
        return self._in_vain[job] < WITHOUT_PROGRESS
