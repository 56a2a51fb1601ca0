"""A job: what is asked of one kind, from which inputs, and where those inputs are."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any

from microtome.store.artifacts.store import Request, Staging, Store
from microtome.store.config import Config

Run = Callable[["Job", Store, Staging], None]


@dataclass(frozen=True)
class Kind:
    """A kind of job. `entry` is its function, imported only where it runs; raise `version` when what it
    makes from the same request changes."""

    entry: str
    version: int
    gpus: float  # of a machine that has any
    cpus: int
    resumable: bool = False
    shared: bool = False  # several processes may work on one job

    def load(self) -> Run:
        module, _, name = self.entry.partition(":")
        return getattr(importlib.import_module(module), name)


KINDS: dict[str, Kind] = {
    "adapt": Kind("microtome.jobs.kinds.adapt:adapt", version=3, gpus=1, cpus=1, resumable=True),
    "randomise": Kind("microtome.jobs.kinds.randomise:randomise", version=1, gpus=0, cpus=1),
    "finetune": Kind("microtome.jobs.kinds.finetune:finetune", version=4, gpus=1, cpus=1, resumable=True),
    "extract": Kind(
        "microtome.jobs.kinds.extract:extract", version=2, gpus=1, cpus=1, resumable=True, shared=True
    ),
    "generate": Kind("microtome.jobs.kinds.generate:run_generate", version=1, gpus=1, cpus=1),
    "answer": Kind("microtome.jobs.kinds.answer:run_answer", version=1, gpus=1, cpus=1),
    "probe": Kind("microtome.jobs.kinds.analyse:probe", version=5, gpus=0, cpus=1),
    "attention": Kind("microtome.jobs.kinds.analyse:attention", version=2, gpus=0, cpus=1),
    "similarity": Kind("microtome.jobs.kinds.analyse:similarity", version=1, gpus=0, cpus=1),
}


def slug(name: str) -> str:
    """What a model, which may be named by a path or a hub id, is called in the name of a job: its short name,
    its hub id, or the last folder of its path. The store makes a folder's name of it."""
    path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return PurePath(name).name if path else name.rstrip("/")


@dataclass(frozen=True)
class Job:
    """`inputs` maps a role to an identity; `sources` maps it to where the thing is (never in the identity).

    `needs` are the ids of the artifacts that must be there first. `labels` name the row of a table. What a
    `private` job makes is for its owner alone: it comes of data under an agreement. `refused` says why this
    cannot be done by anyone, where that is known.
    """

    kind: str
    slug: str
    config: Config
    inputs: Mapping[str, str]
    sources: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    private: bool = False
    refused: str = ""

    @cached_property
    def request(self) -> Request:
        """What the store is asked for."""
        return Request(
            kind=self.kind,
            version=KINDS[self.kind].version,
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
