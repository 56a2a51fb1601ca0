"""Whether what is in a store is what was written, and what to do where it is not."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from store.artifacts import SCRATCH, SOURCES, Artifact, Store
from store.manifest import MANIFEST, parse_manifest


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
    artifacts, findings = [], list(_check_sources(store.root / SOURCES))
    for folder in sorted(path for kind in kinds for path in (store.root / kind).glob("*") if path.is_dir()):
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
        return Artifact(folder, parse_manifest((folder / MANIFEST).read_text("utf-8")))
    except FileNotFoundError:
        gone = "It is half removed or not ours; microtome cache gc removes it if it is ours"
        return Finding(name, "has no manifest", gone)
    except (OSError, ValueError, RecursionError) as error:
        reason = f"is damaged ({(str(error) or type(error).__name__).splitlines()[0]})"
        return Finding(
            f"{name}/{MANIFEST}", reason, f"Remove it and run its job again: microtome cache rm {name}"
        )


def _check_sources(path: Path) -> Iterator[Finding]:
    try:
        known = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError):
        known = None
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        yield Finding(
            path.name,
            "is damaged: it does not say which models and data are known",
            "Remove it and run the suite again where they are",
        )
