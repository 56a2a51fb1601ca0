"""What a kind of job declares; plan, command line, Makefile and report follow from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal

from microtome.jobs.kinds.job import Job, SettingsT, SourcesT
from microtome.jobs.kinds.planning import Planning, Step
from microtome.jobs.kinds.shared_runs import SharedRuns
from microtome.store.artifacts.store import Staging, Store

Stage = Literal["training", "generation", "extraction", "analysis"]  # STAGES in this package's __init__


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[SettingsT, SourcesT]):
    """A kind of job.

    `run` makes the artifact; what it imports beyond the standard room of its file it imports itself. Raise
    `version` when what it makes from the same request changes. `step` is one item of what a suite says below
    the kind's name: a list of them, or a mapping of names to them if they are `named_steps`. `plan` adds the
    jobs that a suite asks for. A kind without both is planned where something else needs it: a model that is
    made first.
    """

    name: str
    title: str  # in plain words, for tables
    stage: Stage
    version: int
    settings: type[SettingsT]
    sources: type[SourcesT]
    run: Callable[[Job[SettingsT, SourcesT], Store, Staging], None]
    step: type[Step] | None = None
    named_steps: bool = False
    plan: Callable[[Planning], None] = lambda planning: None
    needs_gpu: bool = False  # of a machine that has any
    resumable: bool = False
    shared: bool = False  # several processes may work on one job
    shared_runs: SharedRuns | None = None  # one process may run several jobs with one model

    def job(
        self,
        slug: str,
        config: SettingsT,
        sources: SourcesT,
        *,
        inputs: Mapping[str, str],
        needs: tuple[str, ...] = (),
        labels: Mapping[str, Any] | None = None,
        private: bool = False,
        refused: str = "",
        notes: tuple[str, ...] = (),
    ) -> Job[SettingsT, SourcesT]:
        """A job of this kind."""
        return Job(
            kind=self.name,
            version=self.version,
            slug=slug,
            config=config,
            sources=sources,
            inputs=inputs,
            needs=needs,
            labels=labels or {},
            private=private,
            refused=refused,
            notes=notes,
        )
