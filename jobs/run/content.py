"""What jobs read of the driver's disk, by its content: a worker on another machine has not these files.

Rows of tasks and files of text corpora travel; what is under an agreement, and weights, do not: a node has
them itself, where its own MICROTOME_DATA and MICROTOME_MODELS say, and they are found there by their
identity.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from microtome.jobs.data.corpora import Corpus, corpus_files
from microtome.jobs.data.examples import SPLITS, Example
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.models.source import ModelSource, find_model, how_to_get
from microtome.jobs.tasks.source import TaskData, find_local
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MicrotomeError, MissingError

MOST_BYTES = 4 << 30  # of one corpus


@dataclass(frozen=True)
class Content:
    """Rows of a task by split, and files of a corpus by their name in its folder."""

    rows: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class ContentOfJobs:
    """Reads each task and each corpus once, for all jobs of a run."""

    def name(self, job: AnyJob) -> str | None:
        """What stands for the content that a job needs; None if it needs none, or none may travel."""
        data, corpus = _sources_of_type(job, TaskData), _sources_of_type(job, Corpus)
        if data is not None and data.spec.format != "synthetic" and not data.task.credentialed:
            return f"{data.task.name} {data.origin}"
        if corpus is not None and corpus.spec.path is not None:
            return f"corpus {corpus.identity}"
        return None

    def of(self, job: AnyJob) -> Content:
        """The content that a job needs; empty where it cannot be read here, which the job will say."""
        data, corpus = _sources_of_type(job, TaskData), _sources_of_type(job, Corpus)
        if data is not None:
            rows = {}
            for split in SPLITS:
                with contextlib.suppress(MicrotomeError):
                    rows[split] = data.read_texts(split)
            return Content(rows=rows)
        return Content(files=_files_of(corpus)) if corpus is not None else Content()


@contextlib.contextmanager
def content_in_place(job: AnyJob, content: Content | None) -> Iterator[AnyJob]:
    """The same job, reading what came with it and what this machine has, in place of the driver's paths.

    MissingError if it needs weights that are not here.
    """
    if content is None:
        yield job
        return
    with tempfile.TemporaryDirectory(prefix="microtome-corpus-") as folder:
        sources = {
            each.name: _here(getattr(job.sources, each.name), content, Path(folder))
            for each in fields(job.sources)
        }
        yield replace(job, sources=replace(job.sources, **sources))


def _here(source: Any, content: Content, folder: Path) -> Any:
    if isinstance(source, TaskData):
        return _data_here(source, content)
    if isinstance(source, Corpus) and content.files:
        for name, text in content.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        only_file = source.spec.files is None and len(content.files) == 1
        place = folder / next(iter(content.files)) if only_file else folder
        return replace(source, spec=source.spec.model_copy(update={"path": str(place)}))
    if isinstance(source, ModelSource):
        return _model_here(source)
    return source


def _data_here(data: TaskData, content: Content) -> TaskData:
    if content.rows:
        return replace(data, rows=content.rows)
    if data.spec.format == "synthetic" or all(path.exists() for path in data.files.values()):
        return data
    return find_local(data.task)[0] or data


def _model_here(model: ModelSource) -> ModelSource:
    if model.path is None or model.path.is_dir():
        return model
    try:
        here = find_model(model.name, Store())
    except MicrotomeError:
        here = None
    if here is None or here.identity != model.identity:
        has = "is not here" if here is None else "has other weights here"
        raise MissingError(f"model '{model.name}' {has}. {how_to_get(Path(model.name).name)}")
    return here


def _files_of(corpus: Corpus) -> dict[str, bytes]:
    try:
        folder, files = corpus_files(corpus.spec)
        size = sum(path.stat().st_size for path in files)
        if size > MOST_BYTES:
            raise InputError(
                f"{folder} has {size / 1e9:.1f} GB, more than is sent to other machines; put it where "
                "every node sees it"
            )
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    except (MicrotomeError, OSError):
        return {}


def _sources_of_type(job: AnyJob, wanted: type[Any]) -> Any:
    sources = (getattr(job.sources, each.name) for each in fields(job.sources))
    return next((source for source in sources if isinstance(source, wanted)), None)
