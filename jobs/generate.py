"""A causal language model asked: continuations of prompts, and answers chosen by their likelihood."""

import itertools
import json
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from analysis.metrics import class_scores, per_class
from jobs.data.encoding import Encoder, special_tokens
from jobs.data.examples import Example
from jobs.data.fractions import sample
from jobs.data.readers.spec import reading
from jobs.data.source import TaskData, read_as_planned
from jobs.job import Job, slug
from jobs.logs import report
from jobs.models.source import ModelSource
from jobs.provenance import provenance
from jobs.tasks import Task
from store.artifacts import Staging, Store
from store.config import Config, runtime
from store.errors import InputError, unknown
from store.fingerprint import digest
from store.results import write_rows

Score = Literal["sum", "mean", "pmi"]
Rows = list[dict[str, Any]]

TEMPLATES = {
    "classification": "Text: {first} Category:",
    "pair-classification": "Premise: {first} Hypothesis: {second} Relation:",
    "question-answering": "Context: {second} Question: {first} Answer:",
}
PLACES = ("first", "second")  # of a template: the texts of an example
UNLIMITED = 1 << 20  # positions of a model that does not say how many it has


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
    seed: int = Field(1, ge=0, description="of the draws")
    batch_size: int = runtime(8, "prompts or questions that go through the model together", ge=1)

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("at temperature 0 all samples are the same; ask for 1, or raise the temperature")
        return self


class AnswerConfig(Config):
    """How the examples of a task are answered by comparing the likelihoods of its labels."""

    split: Literal["train", "dev", "test"] = Field("test", description="of the task")
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


class AskedConfig(Config):
    """An AnswerConfig applied to one task."""

    type: str
    labels: tuple[str, ...]
    answer: AnswerConfig


def generate_job(
    model: ModelSource,
    config: GenerateConfig,
    prompts: Sequence[str],
    labels: Mapping[str, Any] | None = None,
) -> Job:
    """The job that continues `prompts`. `labels` say which model this is of; its name if unset."""
    return Job(
        kind="generate",
        slug=f"{slug(model.name)}.s{config.seed}",
        config=config,
        inputs={"model": model.identity, "prompts": digest(list(prompts))},
        sources={"model": model, "prompts": tuple(prompts)},
        needs=(model.artifact,) if model.artifact else (),
        labels=labels if labels is not None else {"model": model.name, "seed": config.seed},
    )


def answer_job(
    task: Task,
    data: TaskData,
    model: ModelSource,
    config: AnswerConfig,
    labels: Mapping[str, Any] | None = None,
) -> Job:
    """The job that answers a split of `task`. `labels` say which model this is of; its name if unset."""
    settled = config.model_copy(update={"template": template_for(task, config)})
    return Job(
        kind="answer",
        slug=f"{slug(model.name)}.{task.name}.{config.split}.{config.score}",
        config=AskedConfig(type=task.type, labels=task.labels, answer=settled),
        inputs={"model": model.identity, "data": data.digest(config.split)},
        sources={"model": model, "data": data},
        needs=(model.artifact,) if model.artifact else (),
        labels={**(labels if labels is not None else {"model": model.name}), "task": task.name},
    )


def run_generate(job: Job, store: Store, staging: Staging) -> None:
    """Write samples.jsonl, and rows of how long and how repetitive the samples are."""
    config: GenerateConfig = job.config  # type: ignore[assignment]
    source: ModelSource = job.sources["model"]
    folder = source.folder(store, staging.scratch)
    found = generate(folder, job.sources["prompts"], config, source.name, report)
    write_lines(staging.path / "samples.jsonl", found)
    write_rows(staging.path, text_statistics(found))
    staging.provenance.update(provenance())


def run_answer(job: Job, store: Store, staging: Staging) -> None:
    """Write predictions.jsonl, which holds no text, and the scores."""
    asked: AskedConfig = job.config  # type: ignore[assignment]
    config = asked.answer
    source: ModelSource = job.sources["model"]
    data: TaskData = job.sources["data"]
    rows = read_as_planned(data, config.split, job.inputs["data"])
    examples = [rows[index] for index in sample(len(rows), config.limit, 0)]
    found = answer(
        source.folder(store, staging.scratch),
        examples,
        asked.labels,
        template=str(config.template),
        score=config.score,
        batch_size=config.batch_size,
        name=source.name,
        report=report,
    )
    write_lines(staging.path / "predictions.jsonl", found.rows(examples))
    scores = answer_scores(examples, found, config.split)
    write_rows(staging.path, scores)
    staging.outputs.update(
        template=config.template,
        label_tokens=dict(zip(found.labels, found.tokens_l.tolist(), strict=True)),
        label_log_likelihoods_without_text=dict(zip(found.labels, found.prior_l.tolist(), strict=True)),
    )
    staging.provenance.update(provenance())
    report(f"{config.split} accuracy {scores[0]['value']:.4f}")


# continuations ----------------------------------------------------------------------------------------


def read_prompts(path: Path) -> list[str]:
    """Prompts from a file: one per line, blank lines left out; or JSON Lines (.jsonl) with `prompt`."""
    prompts = []
    with reading(path):
        lines = path.read_text("utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        prompts.append(
            _json_prompt(line, f"{path}:{number}") if path.suffix == ".jsonl" else line.rstrip("\r")
        )
    if not prompts:
        raise InputError(f"{path}: no prompt")
    return prompts


def generate(
    folder: Path,
    prompts: Sequence[str],
    config: GenerateConfig,
    name: str = "",
    report: Callable[[str], None] = lambda text: None,
) -> Rows:
    """Continue every prompt: rows `prompt`, `sample`, `text` (the continuation alone, as the tokenizer
    decodes it), `tokens` (how many new ones, without the end of text), in the order of the prompts.

    A prompt too long for the model's positions loses its beginning; its row then has `cut_tokens`. A prompt
    that is empty starts from the token that begins texts. The draws of a row come from the seed, the number
    of the prompt and that of the sample alone: neither the batch size nor other prompts change it, except
    where rounding in another batch tips a draw. torch's own randomness is not used.
    Raises InputError for a model that is not causal, or with no room for a prompt.
    """
    asked = _load(folder, name)
    room = asked.positions - config.max_new_tokens - len(asked.before)
    if room < 1:
        places = f"the {asked.positions} positions of this model"
        raise InputError(f"max_new_tokens {config.max_new_tokens} leaves no room for a prompt in {places}")
    wholes = [asked.tokenizer(p, add_special_tokens=False, verbose=False)["input_ids"] for p in prompts]
    encoded = [asked.started(ids[-room:]) for ids in wholes]
    requests = list(itertools.product(range(len(prompts)), range(config.samples)))
    continued: dict[tuple[int, int], list[int]] = {}
    for batch in _batches(requests, [len(encoded[p]) for p, _ in requests], config.batch_size):
        draws = [np.random.default_rng([config.seed, *r]).random(config.max_new_tokens) for r in batch]
        new = _continue(asked, [encoded[p] for p, _ in batch], np.stack(draws), config)
        continued.update(zip(batch, new, strict=True))
        report(f"{len(continued)} of {len(requests)} continuations")
    rows = []
    for number, repeat in requests:
        ids = continued[number, repeat]
        text = asked.tokenizer.decode(ids, skip_special_tokens=True)
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
    repeated = [1 - len(set(found)) / len(found) for found in runs if found]
    rows = [("generated_tokens", float(np.mean([row["tokens"] for row in samples])), len(samples))]
    if pairs:
        rows.append(("distinct_2", len(set(pairs)) / len(pairs), len(pairs)))
    if repeated:
        rows.append(("repeated_4grams", float(np.mean(repeated)), len(repeated)))
    return [{"metric": metric, "value": value, "n": n} for metric, value, n in rows]


@dataclass(frozen=True)
class _Asked:
    """A causal model, its tokenizer, what that puts before a text, and how many positions there are."""

    model: Any
    tokenizer: Any
    before: list[int]
    positions: int

    def started(self, ids: Sequence[int]) -> list[int]:
        """`ids` behind what begins a text; never empty."""
        begin = self.tokenizer.bos_token_id
        return [*self.before, *ids] or [self.tokenizer.eos_token_id if begin is None else begin]

    def left_padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Ids and attention mask, int64 [sequences, longest], padded on the left, on the model's device."""
        import torch

        longest = max(map(len, sequences))
        ids = torch.full((len(sequences), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, longest - len(sequence) :] = torch.tensor(sequence)
            mask[row, longest - len(sequence) :] = 1
        return ids.to(self.model.device), mask.to(self.model.device)


def _load(folder: Path, name: str) -> _Asked:
    from jobs.models import language, loading

    config = loading.load_config(folder)
    if not loading.is_causal(config):
        raise InputError(
            f"{name or folder} ({config.model_type}) is no causal language model: it cannot continue a text"
        )
    tokenizer = loading.load_tokenizer(folder, name)
    model, untrained = loading.load_language_model(folder, language.AUTO["clm"], tokenizer.pad_token_id)
    if untrained:
        raise InputError(f"{name or folder} has no language-modelling head ({untrained[0]}); it cannot write")
    before, _ = special_tokens(tokenizer)
    positions = loading.max_positions(config) or UNLIMITED
    return _Asked(model.to(loading.best_device()).eval(), tokenizer, before, positions)


def _batches(items: Sequence[Any], lengths: Sequence[int], size: int) -> Iterable[list[Any]]:
    """Longest first, so that there is little padding."""
    order = sorted(range(len(items)), key=lambda i: -lengths[i])
    return ([items[i] for i in order[s : s + size]] for s in range(0, len(order), size))


def _continue(
    asked: _Asked, prompts: Sequence[list[int]], draws: np.ndarray, config: GenerateConfig
) -> list[list[int]]:
    """The new tokens of each prompt up to its end of text. `draws` in [0, 1): [prompts, new tokens]."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    ids, mask = asked.left_padded(prompts)
    own = asked.model.generation_config.eos_token_id
    ends = own if own is not None else asked.tokenizer.eos_token_id
    settings = GenerationConfig(
        max_new_tokens=config.max_new_tokens,
        do_sample=False,  # `choose` draws, and leaves one token to take
        num_beams=1,
        repetition_penalty=1.0,  # transformers' own would count the padding as said before
        eos_token_id=ends,
        pad_token_id=asked.tokenizer.pad_token_id,
    )
    choose = _chooser(config, mask, torch.from_numpy(draws).to(mask.device))
    with torch.inference_mode():
        whole = asked.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([choose]),
        )
    stop = set(np.atleast_1d(ends).tolist()) if ends is not None else set()
    new = whole[:, ids.shape[1] :].tolist()
    return [list(itertools.takewhile(lambda token: token not in stop, row)) for row in new]


def _chooser(config: GenerateConfig, mask: Any, draws: Any) -> Callable[[Any, Any], Any]:
    """What the scores [prompts, vocabulary] become before the highest is taken.

    With a temperature, one token is drawn per row, by inverting the distribution at that row's own number,
    so that a row does not depend on the rows beside it.
    """
    import torch
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers: list[Callable[[Any, Any], Any]] = []
    if config.temperature > 0:
        warpers.append(TemperatureLogitsWarper(config.temperature))
        warpers += [TopKLogitsWarper(config.top_k)] if config.top_k else []
        warpers += [TopPLogitsWarper(config.top_p)] if config.top_p < 1 else []

    def choose(ids: Any, scores: Any) -> Any:
        step = ids.shape[1] - mask.shape[1]
        if config.repetition_penalty != 1:
            real = torch.cat([mask, mask.new_ones(len(mask), step)], 1)
            said = torch.zeros_like(scores).scatter_add_(1, ids, real.to(scores.dtype)) > 0
            less = torch.where(
                scores > 0, scores / config.repetition_penalty, scores * config.repetition_penalty
            )
            scores = torch.where(said, less, scores)
        if not warpers:
            return scores
        for warp in warpers:
            scores = warp(ids, scores)
        cumulative = scores.double().softmax(-1).cumsum(-1)
        level = draws[:, step, None] * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, level, right=True).clamp(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)

    return choose


def _json_prompt(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise InputError(f'{where}: expected a JSON object with a text as "prompt" on each line')
    return row["prompt"]


# answers ----------------------------------------------------------------------------------------------


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
    report: Callable[[str], None] = lambda text: None,
) -> Answers:
    """Answer each example with the label that has the highest score as the continuation of its prompt.

    The score is the log-likelihood of the label's tokens in the model: their `sum`; their `mean`, for labels
    of different lengths (Brown et al. 2020); or `pmi`: the sum, less the label's log-likelihood after the
    template without texts, so that a label gains nothing by being common (Holtzman et al. 2021). The first of
    equal labels is taken. Prompts and labels are encoded word by word. Where prompt and longest label exceed
    the positions, words go from the beginning of the longer text.
    Raises InputError for a model that is not causal, a template that does not fit, or no room for a text.
    """
    asked = _load(folder, name)
    encoder = Encoder(asked.tokenizer, max_length=asked.positions)
    choices = [_subwords(encoder, label.split()) for label in labels]
    parts = _parts(template, len(examples[0].texts))
    blank = asked.started(_subwords(encoder, _filled(parts, [()] * len(PLACES))))
    room = asked.positions - len(blank) - max(map(len, choices))
    if room < 1:
        raise InputError(f"template and labels leave no room for a text in {asked.positions} positions")
    kept = [_ends(encoder, example.texts, room) for example in examples]
    prompts = [asked.started(_subwords(encoder, _filled(parts, texts))) for texts in kept]
    found = _log_likelihoods(asked, [*prompts, blank], choices, batch_size, report)
    sums, prior, tokens = found[:-1], found[-1], np.array([len(choice) for choice in choices])
    scores = {"sum": sums, "mean": sums / tokens, "pmi": sums - prior}[score]
    predicted = [labels[best] for best in scores.argmax(1)]
    truncated = sum(e.words - sum(map(len, texts)) for e, texts in zip(examples, kept, strict=True))
    return Answers(tuple(labels), predicted, sums, prior, tokens, truncated)


def answer_scores(examples: Sequence[Example], answers: Answers, split: str) -> Rows:
    """Accuracy and macro F1, those of always giving the commonest gold label (`majority_...`), the scores of
    each class, and how many words were cut."""
    gold = [str(example.label) for example in examples]
    commonest = Counter(gold).most_common(1)[0][0]
    constant = class_scores(gold, [commonest] * len(gold))
    scores = {
        **class_scores(gold, answers.predicted),
        **{f"majority_{metric}": value for metric, value in constant.items()},
        "truncated_words": float(answers.truncated_words),
    }
    rows: Rows = [{"split": split, "metric": m, "value": v, "n": len(gold)} for m, v in scores.items()]
    for label, table in per_class(gold, answers.predicted, answers.labels).items():
        rows += [
            {"split": split, "label": label, "metric": f"class_{m}", "value": v, "n": int(table["support"])}
            for m, v in table.items()
        ]
    return rows


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON Lines."""
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")


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
    found: list[str] = []
    for words, place in parts:
        found += words
        found += texts[place] if place is not None else ()
    return found


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


def _log_likelihoods(
    asked: _Asked,
    prompts: Sequence[list[int]],
    choices: Sequence[list[int]],
    batch_size: int,
    report: Callable[[str], None],
) -> np.ndarray:
    """float64 [prompts, choices]: log p(choice | prompt) in nats, the sum over the tokens of the choice."""
    import torch

    found = np.empty((len(prompts), len(choices)))
    done = 0
    for batch in _batches(range(len(prompts)), [len(p) for p in prompts], batch_size):
        with torch.inference_mode():
            found[batch] = _of_batch(asked, [prompts[i] for i in batch], choices).cpu().numpy()
        done += len(batch)
        report(f"{done} of {len(prompts)} prompts")
    return found


def _of_batch(asked: _Asked, prompts: Sequence[list[int]], choices: Sequence[list[int]]) -> Any:
    """A prompt goes through the model once; choices of several tokens go on from its keys and values."""
    import torch

    ids, mask = asked.left_padded(prompts)
    after = asked.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    first = after.logits[:, -1].double().log_softmax(-1)
    total = first[:, [choice[0] for choice in choices]]
    longest = max(map(len, choices))
    if longest == 1:
        return total
    # What stands behind a shorter choice is seen by nothing before it and not counted.
    table = ids.new_tensor([[*choice, *choice[:1] * (longest - len(choice))] for choice in choices])
    counted = ids.new_tensor([[i < len(choice) for i in range(1, longest)] for choice in choices])
    table, counted = table.repeat(len(prompts), 1), counted.repeat(len(prompts), 1)
    after.past_key_values.batch_repeat_interleave(len(choices))
    before = mask.repeat_interleave(len(choices), 0)
    later = asked.model(
        input_ids=table[:, :-1],
        attention_mask=torch.cat([before, torch.ones_like(counted)], 1),
        position_ids=before.sum(1, keepdim=True) + torch.arange(longest - 1, device=ids.device),
        past_key_values=after.past_key_values,
    ).logits
    each = later.double().log_softmax(-1).gather(2, table[:, 1:, None])[..., 0] * counted
    return total + each.sum(1).view(len(prompts), len(choices))
