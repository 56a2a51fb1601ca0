"""Which extractions are run in one process, and which of them in one pass."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from microtome.jobs.kinds.extraction.backbone import LoadedBackbone
from microtome.jobs.kinds.extraction.run import extract_in_one_pass
from microtome.jobs.kinds.extraction.settings import ExtractJob
from microtome.jobs.kinds.shared_runs import Making, SharedRuns
from microtome.store.artifacts.store import Store


def process_key(job: ExtractJob) -> str:
    """Jobs on one checkpoint and the data of one task are run in one process."""
    return f"{job.sources.checkpoint.identity} {job.sources.data.task.name}"


def passes(jobs: Sequence[ExtractJob]) -> list[list[ExtractJob]]:
    """The jobs of each pass, in the order in which the model is loaded least often: passes in one dtype are
    neighbours, first those that keep attentions, which need the model in another way."""
    by_examples: dict[Any, list[ExtractJob]] = {}
    for job in jobs:
        by_examples.setdefault(_examples_of(job), []).append(job)
    return sorted(by_examples.values(), key=_way_of_loading)


@contextlib.contextmanager
def one_process() -> Iterator[Callable[[Sequence[Making], Store], None]]:
    """While this is open, the function that it gives runs passes with one model."""
    with LoadedBackbone() as backbone:
        yield functools.partial(extract_in_one_pass, backbone=backbone)


def _examples_of(job: ExtractJob) -> Any:
    """What decides the sequences that go through the model, and what it computes in."""
    options = job.config.extract
    sample = options.examples, options.sample_seed
    form = options.segments, options.max_length, options.compute
    return process_key(job), job.inputs["data"], job.config.split, job.config.type, sample, form


def _way_of_loading(jobs: Sequence[ExtractJob]) -> tuple[str, bool]:
    attentions = any("attention" in job.config.extract.keep for job in jobs)
    return jobs[0].config.extract.compute, not attentions


SHARED_RUNS = SharedRuns(process_key=process_key, passes=passes, one_process=one_process)
