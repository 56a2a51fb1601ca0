"""What jobs that let a model write or answer give it to do: their prompts are tokenised, and the longest text
that it may write behind them is counted. No weights are read."""

import math
from collections.abc import Sequence
from pathlib import Path

from microtome.jobs.data.encoding import Encoder, special_tokens
from microtome.jobs.kinds.answer import AnswerJob, examples_and_shots
from microtome.jobs.kinds.generate import GenerateJob, prompts_of, room_for_prompt
from microtome.jobs.models.answering import questions_about
from microtome.jobs.models.architecture import UNLIMITED
from microtome.jobs.models.compute import Generation, Texts
from microtome.store.errors import InputError


def generated(job: GenerateJob, folder: Path, name: str) -> Generation | None:
    """Of continuations, each as long as it may become; None for a model that cannot write."""
    from microtome.jobs.models import loading

    config, model_config = job.config, loading.load_config(folder)
    if not loading.is_causal(model_config):
        return None
    tokenizer = loading.load_tokenizer(folder, name)
    before, _ = special_tokens(tokenizer)
    positions = loading.max_positions(model_config) or UNLIMITED
    try:
        room = room_for_prompt(positions, config.max_new_tokens, len(before))
    except InputError:
        return None  # the job will say it
    lengths = []
    for prompt in prompts_of(job):
        ids = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        lengths += [max(1, len(before) + min(len(ids), room))] * config.samples
    return _continuations(lengths, config.max_new_tokens, config.batch_size)


def _continuations(lengths: Sequence[int], new: int, batch: int) -> Generation:
    """Every prompt is read once, and every new token but the last behind the prompt and those before it."""
    pairs = sum(length * (new - 1) + new * (new - 1) / 2 for length in lengths)
    return Generation(
        prompts=_texts(lengths),
        written=Texts(len(lengths), len(lengths) * (new - 1), pairs),
        predictions=len(lengths) * new,
        passes=math.ceil(len(lengths) / batch) * new,
        batch=batch,
        longest=max(lengths, default=0) + new,
    )


def answered(job: AnswerJob, folder: Path, name: str) -> Generation | None:
    """Of answers: every prompt is read once, and behind it every choice but its first token, which the prompt
    predicts; None for a model that cannot answer."""
    from microtome.jobs.models import loading

    config, model_config = job.config.answer, loading.load_config(folder)
    if not loading.is_causal(model_config):
        return None
    tokenizer = loading.load_tokenizer(folder, name)
    positions = loading.max_positions(model_config) or UNLIMITED
    examples, shots = examples_and_shots(job)
    try:
        questions = questions_about(
            examples,
            job.config.labels,
            Encoder(tokenizer, max_length=positions),
            template=str(config.template),
            begin=special_tokens(tokenizer)[0],
            positions=positions,
            shots=shots,
            chat=config.chat,
        )
    except InputError:
        return None  # the job will say it
    prompts = [question.of(example)[0] for example in examples for question in questions]
    lengths = [max(1, len(ids)) for ids in (*prompts, *(question.blank for question in questions))]
    choices = questions[0].choices
    return _answers(lengths, len(choices), max(map(len, choices)) - 1, config.batch_size)


def _answers(lengths: Sequence[int], choices: int, later: int, batch: int) -> Generation:
    """`later` tokens of each choice are read behind the prompt."""
    tokens = len(lengths) * choices * later
    pairs = sum(choices * (length * later + later * (later + 1) / 2) for length in lengths)
    return Generation(
        prompts=_texts(lengths),
        written=Texts(len(lengths) * choices if later else 0, tokens, pairs),
        predictions=len(lengths) + tokens,
        passes=math.ceil(len(lengths) / batch) * (2 if later else 1),
        batch=batch * choices if later else batch,
        longest=max(lengths) + later,
    )


def _texts(lengths: Sequence[int]) -> Texts:
    return Texts(len(lengths), sum(lengths), sum(length * length for length in lengths))
