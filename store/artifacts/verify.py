"""Whether what is in a store is what was written, and what to do where it is not."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from microtome.store.artifacts.artifact import Artifact
from microtome.store.artifacts.catalogue import SCRATCH
from microtome.store.artifacts.manifest import read_manifest
from microtome.store.artifacts.sources import SOURCES, remembered
from microtome.store.artifacts.store import Store
from microtome.store.errors import StoreError


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}. {self.remedy}"


def check(artifact: Artifact) -> Iterator[Finding]:
    """Everything in the folder of an artifact that is not as it was written. Every file is read."""
    contents = artifact.contents
    for file, reason in contents.faults():
        yield Finding(f"{artifact.name}/{file}", reason, contents.remedy)
    for file in contents.strays():
        ours = file.split("/")[0] == SCRATCH
        remedy = "Remove what jobs left: microtome cache gc" if ours else "Move it out of the store"
        yield Finding(f"{artifact.name}/{file}", "is no file of this artifact", remedy)


def check_store(store: Store, kinds: Collection[str]) -> tuple[list[Artifact], list[Finding]]:
    """The artifacts of `kinds` that can be read, and all findings in the store."""
    artifacts, findings = [], list(_check_sources(store.root))
    for folder in sorted(store.root / kind / name for kind in kinds for name in store.names(kind)):
        found = _opened(folder)
        if isinstance(found, Finding):
            findings.append(found)
        else:
            artifacts.append(found)
            findings += check(found)
    return artifacts, findings


def _opened(folder: Path) -> Artifact | Finding:
    name = f"{folder.parent.name}/{folder.name}"
    try:
        manifest = read_manifest(folder)
    except StoreError as error:
        remedy = f"Remove it and run its job again: microtome cache rm {name}"
        return Finding(name, f"is damaged: {error}", remedy)
    if manifest is None:
        gone = "It is half removed or not ours; microtome cache gc removes it if it is ours"
        return Finding(name, "has no manifest", gone)
    return Artifact(folder, manifest)


def _check_sources(root: Path) -> Iterator[Finding]:
    try:
        remembered(root)
    except StoreError as error:
        yield Finding(SOURCES, "is damaged", str(error))
