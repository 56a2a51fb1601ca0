"""A causal language model asked: the examples of a task answered by the likelihoods of its labels."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example, Label, Split
from microtome.jobs.data.fractions import sample
from microtome.jobs.data.prompts import Prompts, parse_template, template_about
from microtome.jobs.kinds.generate import write_lines
from microtome.jobs.kinds.job import Job, ModelSources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning, Step
from microtome.jobs.models.placement import ABOUT_DEVICE_MAP, DeviceMap
from microtome.jobs.models.source import ModelSource
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.references import TaskReferences
from microtome.jobs.tasks.source import TaskData, read_as_planned
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, runtime
from microtome.store.errors import InputError
from microtome.store.results import write_rows

Score = Literal["sum", "mean", "pmi"]
Rows = list[dict[str, Any]]

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
YES_NO = ("yes", "no")  # the choices where every label is asked about by itself


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
    config, source, data = job.config.answer, job.sources.model, job.sources.data
    kind = TASK_TYPES[job.config.type]
    rows = read_as_planned(data, config.split, job.inputs["data"])
    examples = [rows[index] for index in sample(len(rows), config.limit, 0)]
    train = read_as_planned(data, "train", job.inputs["shots"]) if config.shots else []
    use = DeviceUse()
    answers = answer(
        source.folder(store, staging.scratch),
        examples,
        job.config.labels,
        template=str(config.template),
        score=config.score,
        shots=choose_shots(train, [kind.stratum(e) for e in train], config.shots, config.shots_seed),
        chat=config.chat,
        batch_size=config.batch_size,
        device_map=config.device_map,
        name=source.name,
        log_progress=log_progress,
    )
    write_lines(staging.path / "predictions.jsonl", answers.rows(examples))
    scores = answer_scores(kind, examples, answers, config.split)
    write_rows(staging.path, scores)
    staging.outputs.update(
        template=config.template,
        label_tokens=dict(zip(answers.choices, answers.tokens_c.tolist(), strict=True)),
        label_log_likelihoods_without_text=answers.by_name(answers.prior_qc),
    )
    staging.provenance.update(provenance(), **use.noted())
    log_progress(f"{config.split} {scores[0]['metric']} {scores[0]['value']:.4f}")


@dataclass(frozen=True)
class Answers:
    """The answer to each example and what it was chosen by.

    An example is asked one question, whose choices are the labels; or, where it may have several labels, one
    about each of them, whose choices are yes and no.
    `log_likelihood_eqc` float64 [examples, questions, choices]: log p(choice | prompt), the sum over the
    tokens of the choice, in nats; `prior_qc` the same after the template without the example's texts;
    `tokens_c` int64, how many tokens a choice has.
    """

    labels: tuple[str, ...]
    choices: tuple[str, ...]
    predicted: list[Any]  # a label, or a tuple of labels
    log_likelihood_eqc: np.ndarray
    prior_qc: np.ndarray
    tokens_c: np.ndarray
    truncated_words: int

    def by_name(self, values_qc: np.ndarray) -> dict[str, Any]:
        """Values [questions, choices] by choice, and by label where each label is asked about."""
        named = [dict(zip(self.choices, row, strict=True)) for row in values_qc.tolist()]
        return dict(zip(self.labels, named, strict=True)) if self.several else named[0]

    @property
    def several(self) -> bool:
        """Whether an example may have several labels."""
        return isinstance(self.predicted[0], tuple)

    def count(self, label: str) -> int:
        """How many examples were given a label."""
        return sum(label in given if self.several else label == given for given in self.predicted)

    def rows(self, examples: Sequence[Example]) -> Iterable[dict[str, Any]]:
        """Ids, labels and log-likelihoods, no text."""
        for example, label, values in zip(
            examples, self.predicted, self.log_likelihood_eqc.round(6), strict=True
        ):
            yield {
                "id": example.id,
                "gold": example.label,
                "predicted": label,
                "log_likelihoods": self.by_name(values),
            }


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


def choose_shots(
    examples: Sequence[Example], strata: Sequence[Hashable], count: int, seed: int
) -> list[Example]:
    """`count` examples, of each stratum in turn, in the order in which they are shown."""
    if count > len(examples):
        raise InputError(f"{count} shots are more than the {len(examples)} examples of the train split")
    members: dict[Hashable, int] = defaultdict(int)
    rounds = []
    for index in np.random.default_rng(seed).permutation(len(examples)).tolist():
        rounds.append((members[strata[index]], index))
        members[strata[index]] += 1
    return [examples[index] for _, index in sorted(rounds, key=lambda pair: pair[0])[:count]]


def answer(
    folder: Path,
    examples: Sequence[Example],
    labels: Sequence[str],
    *,
    template: str,
    score: Score = "sum",
    shots: Sequence[Example] = (),
    chat: bool = False,
    batch_size: int = 8,
    device_map: DeviceMap = "one",
    name: str = "",
    log_progress: Callable[[str], None] = lambda text: None,
) -> Answers:
    """Answer each example with the label that has the highest score as the continuation of its prompt.

    Where examples have several labels, each label is asked about, and given where yes scores above no.
    The score is the log-likelihood of the label's tokens in the model: their `sum`; their `mean`, for labels
    of different lengths (Brown et al. 2020); or `pmi`: the sum, less the label's log-likelihood after the
    template without texts, so that a label gains nothing by being common (Holtzman et al. 2021). The first of
    equal labels is taken. Prompts and labels are encoded word by word; `shots` are shown with their answers
    before every question (Brown et al. 2020), as turns where it is a `chat`. Where prompt and longest label
    exceed the positions, words go from the beginning of the longer text.
    Raises InputError for a model that is not causal, a template that does not fit, a tokenizer without a chat
    template that is asked for, or no room for a text.
    """
    from microtome.jobs.models import causal

    model = causal.load(folder, name, device_map)
    encoder = Encoder(model.tokenizer, max_length=model.positions)
    several = isinstance(examples[0].label, tuple)
    labels = tuple(labels)
    choices = YES_NO if several else labels
    asked = [
        Prompts(
            encoder,
            template_about(template, len(examples[0].texts), labels, label),
            choices,
            begin=model.before,
            positions=model.positions,
            shots=[(shot, _choice(shot.label, label)) for shot in shots],
            chat=chat,
        )
        for label in (labels if several else (None,))
    ]
    made = [question.of(example) for example in examples for question in asked]
    prompts = [*(tokens for tokens, _ in made), *(question.blank for question in asked)]
    log_likelihoods = causal.log_likelihoods(
        model,
        [tokens or model.started(()) for tokens in prompts],
        asked[0].choices,
        batch_size,
        log_progress,
    )
    shape = (len(asked), len(choices))
    sums, prior = log_likelihoods[: len(made)].reshape(-1, *shape), log_likelihoods[len(made) :]
    tokens = np.array([len(choice) for choice in asked[0].choices])
    scores = {"sum": sums, "mean": sums / tokens, "pmi": sums - prior}[score]
    best = scores.argmax(2)
    predicted: list[Any] = [labels[row[0]] for row in best]
    if several:
        predicted = [tuple(name for name, at in zip(labels, row, strict=True) if at == 0) for row in best]
    truncated = sum(cut for _, cut in made)
    return Answers(labels, choices, predicted, sums, prior, tokens, truncated)


def answer_scores(kind: TaskType, examples: Sequence[Example], answers: Answers, split: str) -> Rows:
    """The metrics of the task type, those of always giving the commonest gold label (`majority_...`), the
    scores of each class, and how many words were cut."""
    commonest = Counter(example.label for example in examples).most_common(1)[0][0]
    constant = kind.score(examples, [commonest] * len(examples), answers.labels)
    values = {
        **kind.score(examples, answers.predicted, answers.labels),
        **{f"majority_{metric}": value for metric, value in constant.items()},
        "truncated_words": float(answers.truncated_words),
    }
    rows: Rows = [{"split": split, "metric": m, "value": v, "n": len(examples)} for m, v in values.items()]
    for label, of_class in kind.score_classes(examples, answers.predicted, answers.labels).items():
        support = int(of_class["class_support"])
        rows += [
            {"split": split, "label": label, "metric": m, "value": v, "n": support}
            for m, v in of_class.items()
        ]
    return rows


def _choice(gold: Label, label: str | None) -> str:
    """The right choice of a question: the label, or whether the label that is asked about is one of them."""
    return str(gold) if label is None else YES_NO[0 if label in gold else 1]  # type: ignore[operator]


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
