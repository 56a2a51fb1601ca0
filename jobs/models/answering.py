"""A causal language model asked: the label that it finds the likeliest continuation of a prompt."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example, Label
from microtome.jobs.data.prompts import Prompts, template_about
from microtome.jobs.models.placement import DeviceMap
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.errors import InputError

Score = Literal["sum", "mean", "pmi"]
Rows = list[dict[str, Any]]

YES_NO = ("yes", "no")  # the choices where every label is asked about by itself


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
    labels = tuple(labels)
    questions = questions_about(
        examples,
        labels,
        Encoder(model.tokenizer, max_length=model.positions),
        template=template,
        begin=model.before,
        positions=model.positions,
        shots=shots,
        chat=chat,
    )
    several = _are_several(examples)
    choices = YES_NO if several else labels
    made = [question.of(example) for example in examples for question in questions]
    prompts = [*(tokens for tokens, _ in made), *(question.blank for question in questions)]
    log_likelihoods = causal.log_likelihoods(
        model,
        [tokens or model.started(()) for tokens in prompts],
        questions[0].choices,
        batch_size,
        log_progress,
    )
    shape = (len(questions), len(choices))
    sums, prior = log_likelihoods[: len(made)].reshape(-1, *shape), log_likelihoods[len(made) :]
    tokens = np.array([len(choice) for choice in questions[0].choices])
    scores = {"sum": sums, "mean": sums / tokens, "pmi": sums - prior}[score]
    best = scores.argmax(2)
    predicted: list[Any] = [labels[row[0]] for row in best]
    if several:
        predicted = [tuple(name for name, at in zip(labels, row, strict=True) if at == 0) for row in best]
    truncated = sum(cut for _, cut in made)
    return Answers(labels, choices, predicted, sums, prior, tokens, truncated)


def questions_about(
    examples: Sequence[Example],
    labels: Sequence[str],
    encoder: Encoder,
    *,
    template: str,
    begin: Sequence[int],
    positions: int,
    shots: Sequence[Example],
    chat: bool,
) -> list[Prompts]:
    """The prompts that each example is asked with: one, or one about each label where examples have several.
    InputError as `answer` says."""
    several = _are_several(examples)
    return [
        Prompts(
            encoder,
            template_about(template, len(examples[0].texts), labels, label),
            YES_NO if several else labels,
            begin=begin,
            positions=positions,
            shots=[(shot, _choice(shot.label, label)) for shot in shots],
            chat=chat,
        )
        for label in (labels if several else (None,))
    ]


def _are_several(examples: Sequence[Example]) -> bool:
    """Whether an example may have several labels."""
    return isinstance(examples[0].label, tuple)


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
