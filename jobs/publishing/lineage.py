"""Lineage: what a checkpoint was made from, back to the model that was not made in this store."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from microtome.jobs.models.registry import MODELS
from microtome.jobs.models.source import ADAPTER, CHECKPOINT
from microtome.jobs.tasks import Task, load_task, task_names
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import MissingError
from microtome.store.identity import SHORT

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Base:
    """The model at the start. `name` never is a path; `hub` is its repository where the name tells it."""

    name: str
    identity: str
    hub: str | None

    @property
    def lost(self) -> bool:
        """Whether it was an artifact, by its name, and so made from something that is no longer known."""
        return self.name.endswith(f"-{self.identity[:SHORT]}")


@dataclass(frozen=True)
class Lineage:
    """`steps` are artifacts, the checkpoint itself last; `base` is None if the first began from nothing."""

    base: Base | None
    steps: tuple[Artifact, ...]

    @property
    def made(self) -> Artifact:
        """The checkpoint itself."""
        return self.steps[-1]

    @property
    def tasks(self) -> list[Task]:
        """The tasks it was fine-tuned on, as far as microtome comes with them."""
        found = [task_of(step) for step in self.of_kind("finetune")]
        return [task for task in found if task is not None]

    def of_kind(self, kind: str) -> list[Artifact]:
        """The steps of a kind."""
        return [step for step in self.steps if step.kind == kind]

    @property
    def parent(self) -> str | None:
        """The name of what the checkpoint was made from directly: an artifact, or the base."""
        if len(self.steps) > 1:
            return self.steps[-2].path.name
        return None if self.base is None else self.base.hub or self.base.name


def lineage(artifact: Artifact, store: Store) -> Lineage:
    """Follow `inputs.model` through the manifests of the store."""
    steps = [artifact]
    while (parent := _parent(steps[0], store)) is not None:
        steps.insert(0, parent)
    return Lineage(_base(steps[0], store), tuple(steps))


def task_of(step: Artifact) -> Task | None:
    """The task of a fine-tuning; None where microtome does not come with it, or with another of its name."""
    name = step.manifest["labels"].get("task")
    if name not in task_names():
        return None
    task, config = load_task(name), step.settings
    same = (task.type, task.labels) == (config["type"], tuple(config["labels"]))
    return task if same else None


def holds_adapter(artifact: Artifact) -> bool:
    """Whether a checkpoint is a LoRA adapter beside the config of its base."""
    return artifact.contents.has(f"{CHECKPOINT}/{ADAPTER}")


def _parent(step: Artifact, store: Store) -> Artifact | None:
    identity = step.manifest["inputs"].get("model")
    if identity is None:
        return None
    try:
        return store.open(identity)
    except MissingError:
        return None


def _base(first: Artifact, store: Store) -> Base | None:
    manifest = first.manifest
    identity = manifest["inputs"].get("model")
    if identity is None:
        return None
    known = store.remembered().items()
    references = [key.removeprefix("model:") for key, noted in known if noted == identity]
    references.append(manifest["outputs"].get("adapter", {}).get("base", ""))
    if first.kind == "finetune":  # with other kinds the label names what they make
        references.append(manifest["labels"].get("model", ""))
    found = [_named(reference, identity) for reference in references if reference]
    return _preferred(found) or Base("a model known by its identity only", identity, None)


def _named(reference: str, identity: str) -> Base:
    if reference in MODELS:
        return Base(reference, identity, MODELS[reference].hub)
    if HUB_ID.fullmatch(reference) and not Path(reference).is_dir():
        return Base(reference, identity, reference)
    return Base(Path(reference).name, identity, None)


def _preferred(found: Iterable[Base]) -> Base | None:
    """One with a repository, if there is any."""
    return min(found, key=lambda base: base.hub is None, default=None)
