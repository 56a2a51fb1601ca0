"""A causal language model goes on writing: continuations of prompts."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from microtome.analysis.metrics.rouge import rouge
from microtome.jobs.data.readers.opening import text_lines
from microtome.jobs.data.readers.parsing import json_rows
from microtome.jobs.kinds.job import Job, ModelSources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning, Step
from microtome.jobs.kinds.questions import Question, Questions, QuestionSource
from microtome.jobs.models.placement import ABOUT_DEVICE_MAP, DeviceMap
from microtome.jobs.models.source import ModelSource
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, Seed, runtime
from microtome.store.errors import InputError
from microtome.store.identity import digest
from microtome.store.results import write_rows

Rows = list[dict[str, Any]]


class GenerateConfig(Config):
    """How prompts are continued."""

    max_new_tokens: int = Field(64, ge=1, description="longest continuation")
    temperature: float = Field(
        1.0, ge=0, description="divides the logits; 0 always takes the likeliest token"
    )
    top_k: int = Field(50, ge=0, description="draw among so many of the likeliest tokens; 0 for all")
    top_p: float = Field(
        0.95, gt=0, le=1, description="draw among the likeliest tokens that have this probability together"
    )
    repetition_penalty: float = Field(
        1.0, gt=0, description="above 1, tokens of the prompt and the continuation so far are less likely"
    )
    samples: int = Field(1, ge=1, description="continuations per prompt")
    seed: Seed = Field(1, description="of the draws")
    batch_size: int = runtime(8, "prompts or questions that go through the model together", ge=1)
    device_map: DeviceMap = runtime("one", ABOUT_DEVICE_MAP)

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("at temperature 0 all samples are the same; ask for 1, or raise the temperature")
        for name in ("top_k", "top_p", "seed") if self.temperature == 0 else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect at temperature 0, where nothing is drawn")
        return self


class GenerateStep(Step):
    """Prompts that causal models of the suite go on writing."""

    models: tuple[str, ...] = Field((), description="of the suite; all if none is named")
    prompts: tuple[str, ...] = Field(
        (),
        json_schema_extra={"empty_items": True, "repeats": True},
        description="texts that the models go on from",
    )  # an empty one starts a text; one that is given twice is drawn for twice
    questions: Questions | None = Field(
        None, description="or questions with answers that people wrote, which the models' are compared with"
    )
    options: GenerateConfig = GenerateConfig()

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.prompts) == (self.questions is not None):
            raise ValueError("give either prompts or questions")
        return self

    def models_named(self) -> Sequence[str]:
        return self.models


@dataclass(frozen=True)
class GenerateSources(ModelSources):
    """The model, and the texts that it continues or the questions that it answers."""

    prompts: tuple[str, ...] = ()
    questions: QuestionSource | None = None


GenerateJob = Job[GenerateConfig, GenerateSources]


def generate_job(
    model: ModelSource,
    config: GenerateConfig,
    prompts: Sequence[str],
    labels: Mapping[str, Any] | None = None,
) -> GenerateJob:
    """The job that continues `prompts`. `labels` say which model this is of; its name if unset."""
    return KIND.job(
        f"{slug(model.name)}.s{config.seed}",
        config,
        GenerateSources(model, tuple(prompts)),
        inputs={"model": model.identity, "prompts": digest(list(prompts))},
        needs=(model.artifact,) if model.artifact else (),
        labels=labels if labels is not None else {"model": model.name, "seed": config.seed},
        private=model.private,
    )


def questions_job(
    model: ModelSource,
    config: GenerateConfig,
    questions: QuestionSource,
    labels: Mapping[str, Any] | None = None,
) -> GenerateJob:
    """The job that answers `questions`."""
    return KIND.job(
        f"questions.{slug(model.name)}.s{config.seed}",
        config,
        GenerateSources(model, questions=questions),
        inputs={"model": model.identity, "questions": questions.identity},
        needs=(model.artifact,) if model.artifact else (),
        labels=labels if labels is not None else {"model": model.name, "seed": config.seed},
        private=model.private,
    )


def plan(planning: Planning) -> None:
    """Every list of prompts, and all questions, with the models that the step names."""
    for step in planning.suite.steps(GenerateStep):
        models = planning.models_named(step.models)
        if step.questions is None:
            jobs = [generate_job(model, step.options, step.prompts) for model in models]
        else:
            corpus = planning.finder.corpus(str(step.questions.corpus.path), step.questions.corpus)
            source = QuestionSource(step.questions, corpus)
            jobs = [questions_job(model, step.options, source) for model in models]
        for job in jobs:
            planning.add(job)


def run_generate(job: GenerateJob, store: Store, staging: Staging) -> None:
    """Write samples.jsonl, and rows of how long and how repetitive the samples are, and of how much they have
    of the answers that people wrote."""
    source, question_source = job.sources.model, job.sources.questions
    folder, use = source.folder(store, staging.scratch), DeviceUse()
    questions = question_source.read() if question_source is not None else []
    samples = generate(folder, _prompts(job, questions), job.config, source.name, log_progress)
    rows = text_statistics(samples)
    if questions:
        references = [question.reference for question in questions for _ in range(job.config.samples)]
        samples = [row | {"reference": reference} for row, reference in zip(samples, references, strict=True)]
        rows += reference_scores(samples)
    write_lines(staging.path / "samples.jsonl", samples)
    write_rows(staging.path, rows)
    staging.provenance.update(provenance(), **use.noted())


def prompts_of(job: GenerateJob) -> Sequence[str]:
    """The texts that a job's model goes on from."""
    source = job.sources.questions
    return _prompts(job, source.read() if source is not None else [])


def _prompts(job: GenerateJob, questions: Sequence[Question]) -> Sequence[str]:
    return [question.prompt for question in questions] or job.sources.prompts


def room_for_prompt(positions: int, max_new_tokens: int, before: int) -> int:
    """Tokens that a prompt may have, where `before` stand before it; InputError if that is none."""
    room = positions - max_new_tokens - before
    if room < 1:
        places = f"the {positions} positions of this model"
        raise InputError(f"max_new_tokens {max_new_tokens} leaves no room for a prompt in {places}")
    return room


def read_prompts(path: Path) -> list[str]:
    """Prompts from a file: one per line, blank lines left out; or JSON Lines (.jsonl) with `prompt`."""
    if path.suffix == ".jsonl":
        prompts = [_prompt_of(row, where) for where, row in json_rows(path)]
    else:
        prompts = [line for _, line in text_lines(path) if line.strip()]
    if not prompts:
        raise InputError(f"{path}: no prompt")
    return prompts


def generate(
    folder: Path,
    prompts: Sequence[str],
    config: GenerateConfig,
    name: str = "",
    log_progress: Callable[[str], None] = lambda text: None,
) -> Rows:
    """Continue every prompt: rows `prompt`, `sample`, `text` (the continuation alone, as the tokenizer
    decodes it), `tokens` (how many new ones, without the end of text), in the order of the prompts.

    A prompt too long for the model's positions loses its beginning; its row then has `cut_tokens`. A prompt
    that is empty starts from the token that begins texts. The draws of a row come from the seed, the number
    of the prompt and that of the sample alone: neither the batch size nor other prompts change it, except
    where rounding in another batch tips a draw. torch's own randomness is not used.
    Raises InputError for a model that is not causal, or with no room for a prompt.
    """
    from microtome.jobs.models import causal

    model = causal.load(folder, name, config.device_map)
    room = room_for_prompt(model.positions, config.max_new_tokens, len(model.before))
    wholes = [model.tokenizer(p, add_special_tokens=False, verbose=False)["input_ids"] for p in prompts]
    encoded = [model.started(ids[-room:]) for ids in wholes]
    requests = list(itertools.product(range(len(prompts)), range(config.samples)))
    continued: dict[tuple[int, int], list[int]] = {}
    for indices in causal.longest_first([len(encoded[p]) for p, _ in requests], config.batch_size):
        batch = [requests[i] for i in indices]
        draws = [np.random.default_rng([config.seed, *r]).random(config.max_new_tokens) for r in batch]
        new = causal.continued(
            model,
            [encoded[p] for p, _ in batch],
            np.stack(draws),
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=config.top_p,
            repetition_penalty=config.repetition_penalty,
        )
        continued.update(zip(batch, new, strict=True))
        log_progress(f"{len(continued)} of {len(requests)} continuations")
    rows = []
    for number, repeat in requests:
        ids = continued[number, repeat]
        text = model.tokenizer.decode(ids, skip_special_tokens=True)
        row = {"prompt": prompts[number], "sample": repeat, "text": text, "tokens": len(ids)}
        cut = len(wholes[number]) - room
        rows.append(row | ({"cut_tokens": cut} if cut > 0 else {}))
    return rows


def text_statistics(samples: Sequence[Mapping[str, Any]]) -> Rows:
    """How long and how repetitive samples are, as result rows; words are what stands between blanks.

    `generated_tokens`: new tokens per sample. `distinct_2`: different word pairs over all word pairs, of all
    samples together (Li et al. 2016). `repeated_4grams`: the share of a sample's four-word runs that it had
    before, averaged over samples (Welleck et al. 2020). What no sample is long enough for has no row.
    """
    words = [row["text"].split() for row in samples]
    pairs = [pair for text in words for pair in itertools.pairwise(text)]
    runs = [list(zip(text, text[1:], text[2:], text[3:], strict=False)) for text in words]
    repeated = [1 - len(set(run)) / len(run) for run in runs if run]
    rows = [("generated_tokens", float(np.mean([row["tokens"] for row in samples])), len(samples))]
    if pairs:
        rows.append(("distinct_2", len(set(pairs)) / len(pairs), len(pairs)))
    if repeated:
        rows.append(("repeated_4grams", float(np.mean(repeated)), len(repeated)))
    return [{"metric": metric, "value": value, "n": n} for metric, value, n in rows]


def reference_scores(samples: Sequence[Mapping[str, Any]]) -> Rows:
    """ROUGE of samples against their `reference`, as result rows."""
    scores = rouge([row["text"] for row in samples], [row["reference"] for row in samples])
    return [{"metric": name, "value": value, "n": len(samples)} for name, value in scores.items()]


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON Lines."""
    path.write_text(
        "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows), "utf-8"
    )


def _prompt_of(row: Mapping[str, Any], where: str) -> str:
    if not isinstance(row.get("prompt"), str):
        raise InputError(f'{where}: expected a text as "prompt"')
    return row["prompt"]


KIND = Kind(
    name="generate",
    title="continuation of prompts",
    stage="generation",
    version=1,
    settings=GenerateConfig,
    sources=GenerateSources,
    run=run_generate,
    step=GenerateStep,
    plan=plan,
    needs_gpu=True,
)
