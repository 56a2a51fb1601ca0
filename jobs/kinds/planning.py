"""A plan in the making: what a suite asks for, what is here, and the jobs so far."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from microtome.jobs.kinds.finder import Finder
from microtome.jobs.kinds.job import AnyJob, Job, SettingsT, SourcesT
from microtome.jobs.models.source import ModelSource
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.references import TaskReferences
from microtome.store.config import Config
from microtome.store.errors import InputError

StepT = TypeVar("StepT", bound="Step")


class CacheUse(NamedTuple):
    """A cache that a step reads: of which view and split, and what must be kept in it."""

    view: str
    split: str
    keep: str


class Step(Config):
    """One item of what a suite says of a kind of job."""

    def cache_uses(self) -> Sequence[CacheUse]:
        """The caches that the step reads, for each checkpoint."""
        return ()

    def models_named(self) -> Sequence[str]:
        """The models of the suite that the step names."""
        return ()

    def with_task_names(self, tasks: TaskReferences, suite_tasks: Sequence[str], place: str) -> Self:
        """The step with names of tasks in place of references to them; `place` is where it stands."""
        return self


class SuiteSettings(Protocol):
    """What kinds read of a suite."""

    @property
    def name(self) -> str: ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks that are fine-tuned."""

    @property
    def seeds(self) -> tuple[int, ...]: ...

    def task(self, name: str) -> Task: ...

    def fractions_of(self, model: str) -> tuple[float, ...]: ...

    def base_of(self, model: str) -> str | None:
        """The model that one is adapted from."""

    def steps(self, of: type[StepT]) -> tuple[StepT, ...]:
        """The steps of this class, in order; of a kind with named steps use `named_steps`."""

    def named_steps(self, of: type[StepT]) -> Mapping[str, StepT]: ...


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model beside a task: as it is, or fine-tuned on it. `before` is what it is compared with, if it comes
    of another checkpoint; `caches` are the ids of its caches by view and split."""

    task: Task
    model: ModelSource
    slug: str
    labels: Mapping[str, Any]
    before: "Checkpoint | None" = None
    caches: dict[tuple[str, str], str] = field(default_factory=dict)


class Planning:
    """Each kind adds its jobs to `jobs`, and for the kinds after it what they are planned from: `models` by
    their names in the suite, `draws` of those whose weights are drawn more than once (name -> seed -> model),
    and `checkpoints`."""

    def __init__(self, suite: SuiteSettings, finder: Finder) -> None:
        self.suite = suite
        self.finder = finder
        self.jobs: dict[str, AnyJob] = {}
        self.models: dict[str, ModelSource] = {}
        self.draws: dict[str, dict[int, ModelSource]] = {}
        self.checkpoints: list[Checkpoint] = []

    def add(self, job: Job[SettingsT, SourcesT]) -> Job[SettingsT, SourcesT]:
        """Add a job, unless the same one is there; returns the one that is."""
        return self.jobs.setdefault(job.id, job)

    def model(self, reference: str) -> ModelSource:
        """A model that stands before in the suite, or one that is found."""
        return self.models.get(reference) or self.finder.model(reference)

    def models_named(self, names: Sequence[str]) -> list[ModelSource]:
        """These models of the suite; all if none is named."""
        return [self.models[name] for name in names or self.models]

    def compared(self, kind: str) -> Iterator[tuple[Checkpoint, Checkpoint]]:
        """Each checkpoint that comes of another, after that one. InputError if there is none."""
        pairs = [(c.before, c) for c in self.checkpoints if c.before is not None]
        if not pairs:
            raise InputError(
                f"suite '{self.suite.name}': {kind} plans no job, as no model is fine-tuned on a fraction "
                f"above 0 and none is adapted from another. Leave it out (--set {kind}=[])"
            )
        yield from pairs
