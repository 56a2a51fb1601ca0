"""What the maximal lengths of a plan's fine-tunings cut off, before anything is trained."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from microtome.jobs.data.code_version import READING, code_version
from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import SPLITS
from microtome.jobs.data.truncation import Truncation, truncation
from microtome.jobs.kinds.finetune import FinetuneJob
from microtome.jobs.models.source import ModelSource
from microtome.jobs.suite.disk import start_of
from microtome.jobs.suite.plan import Plan
from microtome.store.artifacts.store import Store
from microtome.store.errors import MicrotomeError, model_packages

ENCODING = (*READING, "jobs/models")  # the code that decides what is cut off


@dataclass(frozen=True)
class CutTexts:
    """What is cut off of a split of a task for a model."""

    task: str
    model: str
    split: str
    max_length: int
    cut: Truncation

    def row(self) -> dict[str, Any]:
        """As a row of a table."""
        of = {"task": self.task, "model": self.model, "split": self.split, "max_length": self.max_length}
        return of | self.cut.counts()


def cut_texts(plan: Plan, store: Store) -> list[CutTexts]:
    """One for each split of each task and model that is fine-tuned on it, by tokenising all texts. What is
    not on this machine is left out: `plan.missing` names it."""
    jobs = {job.id: job for job in plan.jobs}
    done = plan.done(store)
    first: dict[tuple[str, str, int], FinetuneJob] = {}
    for job in plan.jobs:
        if job.kind == "finetune" and not job.refused:
            key = str(job.labels["task"]), str(job.labels["model"]), job.config.recipe.max_length
            first.setdefault(key, job)
    rows = []
    for (task, model, max_length), job in first.items():
        start = start_of(job.sources.model, jobs, done)
        for split, cut in _of_splits(job, start, store).items():
            rows.append(CutTexts(task, model, split, max_length, cut))
    return rows


def worth_saying(rows: Iterable[CutTexts]) -> list[CutTexts]:
    """Those of which a user has to know."""
    return [row for row in rows if row.cut.worth_saying]


def _of_splits(job: FinetuneJob, model: ModelSource, store: Store) -> Mapping[str, Truncation]:
    """Remembered by what decides it, so that a second plan tokenises nothing."""
    what = {
        "cut texts": {split: job.inputs[split] for split in SPLITS},
        "model": model.identity,
        "max_length": job.config.recipe.max_length,
        "stride": job.config.recipe.stride,
        "code": code_version(ENCODING),
    }
    remembered = store.digests.recall(what)
    if remembered is None:
        try:
            counts = {split: cut.counts() for split, cut in _computed(job, model, store).items()}
        except MicrotomeError:
            return {}  # something is not here, or is wrong, and the job will name it
        remembered = json.dumps(counts, allow_nan=False)
        store.digests.remember(what, remembered)
    return {split: Truncation(**counts) for split, counts in json.loads(remembered).items()}


def _computed(job: FinetuneJob, model: ModelSource, store: Store) -> dict[str, Truncation]:
    with model_packages("tokenising"):
        from microtome.jobs.models.loading import load_tokenizer

        tokenizer = load_tokenizer(model.description(store), model.name)
    recipe, data = job.config.recipe, job.sources.data
    encoder = Encoder(tokenizer, max_length=recipe.max_length)
    cuts = {}
    for split in SPLITS:
        examples = data.read(split)
        encoder.encode_words(examples)
        if recipe.stride is None:
            windows = [[encoder.encode(example)] for example in examples]
        else:
            windows = [encoder.windows(example, recipe.stride) for example in examples]
        cuts[split] = truncation(examples, windows)
    return cuts
