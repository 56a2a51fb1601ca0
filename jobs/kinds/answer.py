"""A causal language model asked: the examples of a task answered by the likelihoods of its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, model_validator

from microtome.jobs.data.examples import Example, Split
from microtome.jobs.data.fractions import sample
from microtome.jobs.data.prompts import parse_template
from microtome.jobs.kinds.generate import write_lines
from microtome.jobs.kinds.job import Job, ModelSources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning, Step
from microtome.jobs.models.answering import Score, answer, answer_scores, choose_shots
from microtome.jobs.models.placement import ABOUT_DEVICE_MAP, DeviceMap
from microtome.jobs.models.source import ModelSource
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.references import TaskReferences
from microtome.jobs.tasks.source import TaskData, read_as_planned
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, runtime
from microtome.store.errors import InputError
from microtome.store.results import write_rows

TEMPLATES = {
    "classification": "Text: {first} Category:",
    "multi-label": "Text: {first} Question: is it about {label}? Answer:",
    "multi-label-documents": "Text: {first} Question: is it about {label}? Answer:",
    "pair-classification": "Premise: {first} Hypothesis: {second} Relation:",
    "question-answering": "Context: {second} Question: {first} Answer:",
    "relation": "Text: {first} Relation:",
}
ONE_OF = "Answer with one of: {labels}."
CHAT_TEMPLATES = {
    "classification": f"Text: {{first}} Which category is it? {ONE_OF}",
    "multi-label": "Text: {first} Is it about {label}? Answer with yes or no.",
    "multi-label-documents": "Text: {first} Is it about {label}? Answer with yes or no.",
    "pair-classification": f"Premise: {{first}} Hypothesis: {{second}} How do they relate? {ONE_OF}",
    "question-answering": f"Context: {{second}} Question: {{first}} {ONE_OF}",
    "relation": f"Text: {{first}} Which relation do the two mentions have? {ONE_OF}",
}


class AnswerConfig(Config):
    """How the examples of a task are answered by comparing the likelihoods of its labels."""

    split: Split = Field("test", description="of the task")
    score: Score = Field(
        "sum",
        description="log-likelihood of a label: over its tokens the sum or the mean, or pmi: the sum, less "
        "the label's after the template without texts",
    )
    template: str | None = Field(
        None,
        description="prompt, with {first} and {second} for the texts, {labels} for the names of all labels "
        "and, in multi-label tasks, {label} for the one that is asked about; that of the task type if unset",
    )
    shots: int = Field(
        0,
        ge=0,
        description="examples of the train split, of each class in turn, shown with their answers first",
    )
    shots_seed: int = Field(0, ge=0, description="which examples are shown")
    chat: bool = Field(
        False, description="ask in the turns of the model's own chat template, as instruct models expect"
    )
    limit: int | None = Field(None, ge=1, description="at most so many examples, a seeded sample")
    batch_size: int = runtime(8, "questions that go through the model together", ge=1)
    device_map: DeviceMap = runtime("one", ABOUT_DEVICE_MAP)

    @model_validator(mode="after")
    def _shots_are_drawn(self) -> Self:
        if self.shots_seed and not self.shots:
            raise ValueError("shots_seed has no effect without shots")
        return self


class AnswerStep(Step):
    """A task that causal models of the suite answer without a head, by likelihood."""

    models: tuple[str, ...] = Field((), description="of the suite; all if none is named")
    task: str = Field(description="name or file of the task that is answered by likelihood")
    options: AnswerConfig = AnswerConfig()

    def models_named(self) -> Sequence[str]:
        return self.models

    def with_task_names(self, tasks: TaskReferences, suite_tasks: Sequence[str], place: str) -> Self:
        return self.model_copy(update={"task": tasks.name(self.task, place)})


class TaskAnswerConfig(Config):
    """An AnswerConfig applied to one task."""

    type: str
    labels: tuple[str, ...]
    answer: AnswerConfig


@dataclass(frozen=True)
class AnswerSources(ModelSources):
    """The model and the data of the task."""

    data: TaskData


AnswerJob = Job[TaskAnswerConfig, AnswerSources]


def answer_job(
    task: Task,
    data: TaskData,
    model: ModelSource,
    config: AnswerConfig,
    labels: Mapping[str, Any] | None = None,
) -> AnswerJob:
    """The job that answers a split of `task`. `labels` say which model this is of; its name if unset."""
    settled = config.model_copy(update={"template": template_for(task, config)})
    shots = {"shots": data.digest("train")} if config.shots else {}
    return KIND.job(
        f"{slug(model.name)}.{task.name}.{config.split}.{config.score}",
        TaskAnswerConfig(type=task.type, labels=task.labels, answer=settled),
        AnswerSources(model, data),
        inputs={"model": model.identity, "data": data.digest(config.split), **shots},
        needs=(model.artifact,) if model.artifact else (),
        labels={**(labels if labels is not None else {"model": model.name}), "task": task.name},
        private=task.credentialed or model.private,
    )


def plan(planning: Planning) -> None:
    """Every task that is to be answered, by the models that its step names."""
    for step in planning.suite.steps(AnswerStep):
        task = planning.suite.task(step.task)
        data = planning.finder.data(task)
        for model in planning.models_named(step.models):
            planning.add(answer_job(task, data, model, step.options))


def run_answer(job: AnswerJob, store: Store, staging: Staging) -> None:
    """Write predictions.jsonl, which holds no text, and the scores."""
    config, source = job.config.answer, job.sources.model
    examples, shots = examples_and_shots(job)
    use = DeviceUse()
    answers = answer(
        source.folder(store, staging.scratch),
        examples,
        job.config.labels,
        template=str(config.template),
        score=config.score,
        shots=shots,
        chat=config.chat,
        batch_size=config.batch_size,
        device_map=config.device_map,
        name=source.name,
        log_progress=log_progress,
    )
    write_lines(staging.path / "predictions.jsonl", answers.rows(examples))
    scores = answer_scores(TASK_TYPES[job.config.type], examples, answers, config.split)
    write_rows(staging.path, scores)
    staging.outputs.update(
        template=config.template,
        label_tokens=dict(zip(answers.choices, answers.tokens_c.tolist(), strict=True)),
        label_log_likelihoods_without_text=answers.by_name(answers.prior_qc),
    )
    staging.provenance.update(provenance(), **use.noted())
    log_progress(f"{config.split} {scores[0]['metric']} {scores[0]['value']:.4f}")


def examples_and_shots(job: AnswerJob) -> tuple[list[Example], list[Example]]:
    """The examples that a job answers, and those that are shown with their answers before each."""
    config, data, kind = job.config.answer, job.sources.data, TASK_TYPES[job.config.type]
    rows = read_as_planned(data, config.split, job.inputs["data"])
    examples = [rows[index] for index in sample(len(rows), config.limit, 0)]
    train = read_as_planned(data, "train", job.inputs["shots"]) if config.shots else []
    return examples, choose_shots(train, [kind.stratum(e) for e in train], config.shots, config.shots_seed)


def template_for(task: Task, config: AnswerConfig) -> str:
    """The template that a task is asked with; InputError for a type that has no label to write out."""
    if task.type not in TEMPLATES:
        raise InputError(
            f"task '{task.name}' ({task.type}) cannot be answered by likelihood; types that can: "
            + ", ".join(TEMPLATES)
        )
    template = config.template or (CHAT_TEMPLATES if config.chat else TEMPLATES)[task.type]
    several = task.kind.problem == "multi_label_classification"
    parse_template(template, task.kind.texts, asks_each_label=several)
    return template


KIND = Kind(
    name="answer",
    title="answering by likelihood",
    stage="generation",
    version=1,
    settings=TaskAnswerConfig,
    sources=AnswerSources,
    run=run_answer,
    step=AnswerStep,
    plan=plan,
    needs_gpu=True,
)
