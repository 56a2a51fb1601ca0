"""A job: what is asked of one kind, from which inputs, and where those inputs are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import PurePath
from typing import Any, Generic, TypeVar

from microtome.jobs.models.source import ModelSource
from microtome.store.artifacts.store import Request
from microtome.store.config import Config
from microtome.store.errors import Absence


@dataclass(frozen=True)
class Sources:
    """Where the inputs of a job are, one field each; never part of the identity."""

    @property
    def start(self) -> ModelSource | None:
        """The model that the job loads, if it loads one."""
        return None

    def absences(self) -> list[Absence]:
        """Which of the inputs are not on this machine."""
        absences = (getattr(getattr(self, field.name), "absence", None) for field in fields(self))
        return [absence for absence in absences if absence is not None]


@dataclass(frozen=True)
class ModelSources(Sources):
    """The inputs of a job that loads a model."""

    model: ModelSource

    @property
    def start(self) -> ModelSource:
        return self.model


SettingsT = TypeVar("SettingsT", bound=Config)
SourcesT = TypeVar("SourcesT", bound=Sources)


@dataclass(frozen=True, kw_only=True)
class Job(Generic[SettingsT, SourcesT]):
    """`inputs` maps a role to an identity, `sources` says where the things are.

    `needs` are the ids of the artifacts that must be there first. `labels` name the row of a table. What a
    `private` job makes is for its owner alone: it comes of data under an agreement. `refused` says why this
    cannot be done by anyone, where that is known, and `notes` what to know of its result before it is made.
    `Kind.job` makes jobs.
    """

    kind: str
    version: int
    slug: str
    config: SettingsT
    sources: SourcesT
    inputs: Mapping[str, str]
    needs: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    private: bool = False
    refused: str = ""
    notes: tuple[str, ...] = ()

    @cached_property
    def request(self) -> Request:
        """What the store is asked for."""
        return Request(
            kind=self.kind,
            version=self.version,
            config=self.config.identity(),
            settings=self.config.all_settings(),
            inputs=self.inputs,
            slug=self.slug,
            labels=self.labels,
            private=self.private,
        )

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def name(self) -> str:
        return f"{self.kind} {self.slug}"


AnyJob = Job[Any, Any]  # where jobs of several kinds are treated alike


def slug(name: str) -> str:
    """What a model, which may be named by a path or a hub id, is called in the name of a job: its short name,
    its hub id, or the last folder of its path. The store makes a folder's name of it."""
    path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return PurePath(name).name if path else name.rstrip("/")
