"""A causal language model asked: the examples of a task answered by the likelihoods of its labels."""

import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.scoring import by_class, scores
from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example, Split
from microtome.jobs.data.fractions import sample
from microtome.jobs.kinds.generate import write_lines
from microtome.jobs.kinds.job import Job, ModelSources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning, Step
from microtome.jobs.models.source import ModelSource
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.references import TaskReferences
from microtome.jobs.tasks.source import TaskData, read_as_planned
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, runtime
from microtome.store.errors import InputError, unknown
from microtome.store.results import write_rows

Score = Literal["sum", "mean", "pmi"]
Rows = list[dict[str, Any]]

TEMPLATES = {
    "classification": "Text: {first} Category:",
    "pair-classification": "Premise: {first} Hypothesis: {second} Relation:",
    "question-answering": "Context: {second} Question: {first} Answer:",
}
SCORES = ("accuracy", "macro_f1")
PLACES = ("first", "second")  # of a template: the texts of an example


class AnswerConfig(Config):
    """How the examples of a task are answered by comparing the likelihoods of its labels."""

    split: Split = Field("test", description="of the task")
    score: Score = Field(
        "sum",
        description="log-likelihood of a label: over its tokens the sum or the mean, or pmi: the sum, less "
        "the label's after the template without texts",
    )
    template: str | None = Field(
        None, description="prompt, with {first} and {second} for the texts; that of the task type if unset"
    )
    limit: int | None = Field(None, ge=1, description="at most so many examples, a seeded sample")
    batch_size: int = runtime(8, "questions that go through the model together", ge=1)


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
    return KIND.job(
        f"{slug(model.name)}.{task.name}.{config.split}.{config.score}",
        TaskAnswerConfig(type=task.type, labels=task.labels, answer=settled),
        AnswerSources(model, data),
        inputs={"model": model.identity, "data": data.digest(config.split)},
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
    rows = read_as_planned(job.sources.data, config.split, job.inputs["data"])
    examples = [rows[index] for index in sample(len(rows), config.limit, 0)]
    use = DeviceUse()
    answers = answer(
        source.folder(store, staging.scratch),
        examples,
        job.config.labels,
        template=str(config.template),
        score=config.score,
        batch_size=config.batch_size,
        name=source.name,
        log_progress=log_progress,
    )
    write_lines(staging.path / "predictions.jsonl", answers.rows(examples))
    scores = answer_scores(examples, answers, config.split)
    write_rows(staging.path, scores)
    staging.outputs.update(
        template=config.template,
        label_tokens=dict(zip(answers.labels, answers.tokens_l.tolist(), strict=True)),
        label_log_likelihoods_without_text=dict(zip(answers.labels, answers.prior_l.tolist(), strict=True)),
    )
    staging.provenance.update(provenance(), **use.noted())
    log_progress(f"{config.split} accuracy {scores[0]['value']:.4f}")


@dataclass(frozen=True)
class Answers:
    """The answer to each example and what it was chosen by.

    `log_likelihood_el` float64 [examples, labels]: log p(label | prompt), the sum over the label's tokens, in
    nats; `prior_l` the same after the template without texts; `tokens_l` int64, how many tokens a label has.
    """

    labels: tuple[str, ...]
    predicted: list[str]
    log_likelihood_el: np.ndarray
    prior_l: np.ndarray
    tokens_l: np.ndarray
    truncated_words: int

    def rows(self, examples: Sequence[Example]) -> Iterable[dict[str, Any]]:
        """Ids, labels and log-likelihoods, no text."""
        values = self.log_likelihood_el.round(6).tolist()
        for example, label, row in zip(examples, self.predicted, values, strict=True):
            likelihoods = dict(zip(self.labels, row, strict=True))
            yield {
                "id": example.id,
                "gold": example.label,
                "predicted": label,
                "log_likelihoods": likelihoods,
            }


def template_for(task: Task, config: AnswerConfig) -> str:
    """The template that a task is asked with; InputError for a type that has no label to write out."""
    if task.type not in TEMPLATES:
        raise InputError(
            f"task '{task.name}' ({task.type}) cannot be answered by likelihood; types that can: "
            + ", ".join(TEMPLATES)
        )
    template = config.template or TEMPLATES[task.type]
    _parts(template, task.kind.texts)
    return template


def answer(
    folder: Path,
    examples: Sequence[Example],
    labels: Sequence[str],
    *,
    template: str,
    score: Score = "sum",
    batch_size: int = 8,
    name: str = "",
    log_progress: Callable[[str], None] = lambda text: None,
) -> Answers:
    """Answer each example with the label that has the highest score as the continuation of its prompt.

    The score is the log-likelihood of the label's tokens in the model: their `sum`; their `mean`, for labels
    of different lengths (Brown et al. 2020); or `pmi`: the sum, less the label's log-likelihood after the
    template without texts, so that a label gains nothing by being common (Holtzman et al. 2021). The first of
    equal labels is taken. Prompts and labels are encoded word by word. Where prompt and longest label exceed
    the positions, words go from the beginning of the longer text.
    Raises InputError for a model that is not causal, a template that does not fit, or no room for a text.
    """
    from microtome.jobs.models import causal

    model = causal.load(folder, name)
    encoder = Encoder(model.tokenizer, max_length=model.positions)
    choices = [_subwords(encoder, label.split()) for label in labels]
    parts = _parts(template, len(examples[0].texts))
    blank = model.started(_subwords(encoder, _filled(parts, [()] * len(PLACES))))
    room = model.positions - len(blank) - max(map(len, choices))
    if room < 1:
        raise InputError(f"template and labels leave no room for a text in {model.positions} positions")
    kept = [_ends(encoder, example.texts, room) for example in examples]
    prompts = [model.started(_subwords(encoder, _filled(parts, texts))) for texts in kept]
    log_likelihoods = causal.log_likelihoods(model, [*prompts, blank], choices, batch_size, log_progress)
    sums, prior = log_likelihoods[:-1], log_likelihoods[-1]
    tokens = np.array([len(choice) for choice in choices])
    scores = {"sum": sums, "mean": sums / tokens, "pmi": sums - prior}[score]
    predicted = [labels[best] for best in scores.argmax(1)]
    truncated = sum(e.words - sum(map(len, texts)) for e, texts in zip(examples, kept, strict=True))
    return Answers(tuple(labels), predicted, sums, prior, tokens, truncated)


def answer_scores(examples: Sequence[Example], answers: Answers, split: str) -> Rows:
    """Accuracy and macro F1, those of always giving the commonest gold label (`majority_...`), the scores of
    each class, and how many words were cut."""
    gold = [str(example.label) for example in examples]
    commonest = Counter(gold).most_common(1)[0][0]
    answered = class_labels(gold, answers.predicted, answers.labels)
    constant = scores(SCORES, class_labels(gold, [commonest] * len(gold), answers.labels))
    values = {
        **scores(SCORES, answered),
        **{f"majority_{metric}": value for metric, value in constant.items()},
        "truncated_words": float(answers.truncated_words),
    }
    rows: Rows = [{"split": split, "metric": m, "value": v, "n": len(gold)} for m, v in values.items()]
    for label, of_class in by_class(answered).items():
        support = int(of_class["class_support"])
        rows += [
            {"split": split, "label": label, "metric": m, "value": v, "n": support}
            for m, v in of_class.items()
        ]
    return rows


def _parts(template: str, texts: int) -> list[tuple[list[str], int | None]]:
    """A template as runs of words, each with the number of the text that follows it, or None."""
    try:
        parsed = [(words.split(), place) for words, place, _, _ in string.Formatter().parse(template)]
    except ValueError as error:
        raise InputError(f"template '{template}': {error}") from None
    places = [place for _, place in parsed if place is not None]
    for place in places:
        if place not in PLACES[:texts]:
            raise unknown(f"place in template '{template}'", place, PLACES[:texts])
    for place in PLACES[:texts]:
        if places.count(place) != 1:
            raise InputError(f"template '{template}' needs {{{place}}} exactly once")
    return [(words, None if place is None else PLACES.index(place)) for words, place in parsed]


def _filled(parts: Iterable[tuple[list[str], int | None]], texts: Sequence[Sequence[str]]) -> list[str]:
    filled: list[str] = []
    for words, place in parts:
        filled += words
        filled += texts[place] if place is not None else ()
    return filled


def _subwords(encoder: Encoder, words: Iterable[str]) -> list[int]:
    return [token for word in words for token in encoder.subwords(word)]


def _ends(encoder: Encoder, texts: Sequence[Sequence[str]], room: int) -> list[Sequence[str]]:
    """The last words of each text that fit into `room` tokens together; the longer text is cut first."""
    rooms = [room]
    if len(texts) == 2:
        sizes = [len(_subwords(encoder, text)) for text in texts]
        first = min(sizes[0], max(room - sizes[1], (room + 1) // 2))
        rooms = [first, room - first]
    return [_end(encoder, text, limit) for text, limit in zip(texts, rooms, strict=True)]


def _end(encoder: Encoder, text: Sequence[str], room: int) -> Sequence[str]:
    for start in range(len(text) - 1, -1, -1):
        room -= len(encoder.subwords(text[start]))
        if room < 0:
            return text[start + 1 :]
    return text


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
