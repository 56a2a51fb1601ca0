"""What the page of a study is made of, as one digest: if it is the same, the page need not be drawn again."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import microtome.analysis
import microtome.jobs.suite
import microtome.jobs.tasks
from microtome.analysis.metrics.terms import METRIC_TERMS
from microtome.jobs.kinds import all_kinds
from microtome.jobs.process.provenance import provenance
from microtome.jobs.suite.plan import Plan
from microtome.jobs.tasks import Task
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.files.checksums import checksum_of
from microtome.store.identity import digest
from microtome.store.results import ROWS

# Packages that make the page; of tasks, what finds the published scores.
CODE = (microtome.analysis, microtome.jobs.suite, microtome.jobs.tasks)
SUFFIXES = (".py", ".jinja", ".css")
LIBRARIES = ("jinja2", "matplotlib", "numpy", "pandas", "scipy")  # versions that decide how it looks


def page_sources(plan: Plan, artifacts: Mapping[str, Artifact], store: Store) -> str:
    """A digest of the rows, the settings, what the page says of its making, and the code that draws it."""
    suite = plan.suite
    return digest(
        {
            "suite": suite.model_dump(mode="json"),
            "tasks": {name: _of_task(suite.task(name)) for name in suite.tasks},
            "artifacts": [
                [job.id, _labels(job.labels), _measured(artifacts[job.id])]
                for job in plan.jobs
                if job.id in artifacts
            ],
            "kinds": [[kind.name, kind.title] for kind in all_kinds()],
            "provenance": page_provenance(plan, store),
            "libraries": [[name, importlib.metadata.version(name)] for name in LIBRARIES],
            "code": list(_code()),
        }
    )


def page_provenance(plan: Plan, store: Store) -> dict[str, str]:
    """What the page says of its making."""
    return {"store": store.root.resolve().name, "study": plan.suite.study, **provenance()}


def _of_task(task: Task) -> dict[str, Any]:
    """What the page says of a corpus, its published scores, and what decides which are beside ours."""
    fields = {"type", "licence", "citation", "published", "published_recipes", "recipe"}
    return task.model_dump(mode="json", include=fields)


def _labels(labels: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in labels.items() if value is not None}


def _measured(artifact: Artifact) -> list[Any]:
    """Its rows and scores by their checksums, read and compared, and what it took. StoreError if damaged."""
    files = [name for name in (ROWS, METRIC_TERMS) if artifact.contents.has(name)]
    read = [[name, checksum_of(artifact.contents.read(name))] for name in files]
    return [read, artifact.provenance.get("seconds", 0.0), artifact.bytes()]


def code_folders() -> list[Path]:
    """The folders of the packages that make the page."""
    return [Path(folder) for package in CODE for folder in package.__path__]


def _code() -> Iterator[tuple[str, str]]:
    """Every file of them by its name there, with its checksum."""
    for folder in code_folders():
        for path in sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES):
            yield path.relative_to(folder).as_posix(), checksum_of(path.read_bytes())
