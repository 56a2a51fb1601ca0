"""From a suite to jobs with identities, in an order in which they can run."""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass

from microtome.jobs.kinds import all_kinds
from microtome.jobs.kinds.finder import Finder
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.kinds.planning import Planning
from microtome.jobs.suite.suite import Suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import Absence


@dataclass(frozen=True)
class Plan:
    """All jobs of a suite; a job comes after what it needs."""

    suite: Suite
    jobs: tuple[AnyJob, ...]
    missing: tuple[Absence, ...]
    identities: Mapping[str, str]  # of what is here, for the store to remember
    unidentified: tuple[
        str, ...
    ]  # what was never here, so that ids of jobs that need it are not the real ones

    def done(self, store: Store) -> set[str]:
        """The ids of the jobs whose artifacts are whole, and of artifacts that no job of the plan makes,
        such as a checkpoint that a suite starts from: they were there when it was planned."""
        made = {job.id for job in self.jobs}
        elsewhere = {need for job in self.jobs for need in job.needs if need not in made}
        artifacts = store.find_all(job.request for job in self.jobs)
        return {id for id, artifact in artifacts.items() if artifact.whole} | elsewhere

    def wanted(self, kinds: Collection[str]) -> list[AnyJob]:
        """The jobs of some kinds; of all kinds if none is named."""
        return [job for job in self.jobs if not kinds or job.kind in kinds]

    def blocked(self, done: Set[str], kinds: Collection[str] = (), how: str = "") -> dict[str, str]:
        """job id -> why it cannot be done: something is missing here, or is of a kind not asked for. `how` is
        the rest of the user's `suite run`, for the command that makes it."""
        reasons: dict[str, str] = {}
        by_id = {job.id: job for job in self.jobs}
        for job in self.jobs:
            if job.id in done:
                continue
            why = [job.refused] if job.refused else []
            why += map(str, job.sources.absences())
            for need in job.needs:
                if need in reasons:
                    why.append(reasons[need])
                elif need in by_id and need not in done and kinds and by_id[need].kind not in kinds:
                    command = f"microtome suite run {self.suite.typed}{how} --only {by_id[need].kind}"
                    why.append(f"needs {by_id[need].kind} jobs that are not done; make them: {command}")
            if why:
                reasons[job.id] = why[0]
        return reasons


def make_plan(suite: Suite, store: Store) -> Plan:
    """Find every model and dataset, and name every job. Nothing is loaded, nothing is written.

    What is not on this machine is planned with the identity that the store remembers of it, so that
    results can be read where the model and the data are not.
    """
    finder = Finder(store)
    planning = Planning(suite, finder)
    for name, spec in suite.models.items():
        planning.models[name] = spec.planned(name, planning)
        if spec.draws > 1:
            planning.draws[name] = {spec.seed: planning.models[name]} | spec.further_draws(name, planning)
    for kind in all_kinds():
        kind.plan(planning)
    jobs = tuple(planning.jobs.values())
    missing = (*finder.missing, *_refused(jobs))
    return Plan(suite, jobs, missing, finder.identities, tuple(finder.unidentified))


def _refused(jobs: Iterable[AnyJob]) -> list[Absence]:
    """What no job can do with a model of the suite, once for each model and reason."""
    reasons = dict.fromkeys((str(job.labels["model"]), job.refused) for job in jobs if job.refused)
    return [Absence("model", model, why, "change that, or leave the model out") for model, why in reasons]


def notes_by_text(plan: Plan) -> dict[str, list[str]]:
    """What to know of the results of a plan's jobs -> the models that it is said of."""
    models: dict[str, list[str]] = {}
    for job in plan.jobs:
        for note in job.notes:
            named = models.setdefault(note, [])
            if job.labels["model"] not in named:
                named.append(str(job.labels["model"]))
    return models
