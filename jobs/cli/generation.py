"""`generate`: a causal language model continues prompts, or answers the questions of a task."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from microtome.jobs.cli.options import UserPath, console, given, lines_to, options_of
from microtome.jobs.cli.tables import as_table
from microtome.jobs.data.fractions import sample
from microtome.jobs.kinds.answer import AnswerConfig, template_for
from microtome.jobs.kinds.generate import GenerateConfig, generate, read_prompts
from microtome.jobs.models.answering import Answers, answer, answer_scores, choose_shots
from microtome.jobs.models.source import find_model
from microtome.jobs.tasks import Task, load_task
from microtome.jobs.tasks.published import published_answer, published_columns
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Store
from microtome.store.config import Config
from microtome.store.errors import InputError


@click.command("generate")
@click.option("--checkpoint", required=True, help="id or name of a checkpoint in the store, or any model")
@click.option("--prompt", "texts", multiple=True, help="text to continue; may be given several times")
@click.option(
    "--prompts", "source", type=UserPath(), help='file of one per line, or .jsonl with "prompt" on each'
)
@click.option("--task", help="answer the examples of this task instead: a name, or a task file")
@options_of(GenerateConfig)
@options_of(AnswerConfig, without=GenerateConfig.model_fields)
@click.option("--out", type=UserPath(dir_okay=False), help="file to write; the screen if unset")
def generate_command(
    checkpoint: str,
    texts: tuple[str, ...],
    source: str | None,
    task: str | None,
    out: str | None,
    **options: Any,
) -> None:
    """Let a causal language model write; JSON Lines come out.

    With --prompt or --prompts it continues them. With --task it answers the examples of a task: the label
    that is the likeliest continuation is the answer; where an example may have several labels, each is asked
    about. --shots puts answered examples first, --chat asks an instruct model in its own chat template.
    The options --split, --score, --template, --shots, --shots-seed, --chat and --limit belong to --task, all
    others but --batch-size to prompts. The scores of a task go to the terminal, beside those of always giving
    the commonest label.
    """
    if task is not None:
        if texts or source is not None:
            raise InputError("--task asks its own questions; leave out --prompt and --prompts")
        _refuse(options, GenerateConfig, AnswerConfig, "--task")
        _answer(checkpoint, load_task(task), given(AnswerConfig, options), out)
        return
    _refuse(options, AnswerConfig, GenerateConfig, "prompts")
    prompts = [*texts, *(read_prompts(Path(source)) if source is not None else ())]
    if not prompts:
        raise InputError("no prompt: give --prompt TEXT, --prompts FILE or --task NAME")
    config = given(GenerateConfig, options)
    store = Store()
    model = find_model(checkpoint, store)
    with lines_to(out) as write, tempfile.TemporaryDirectory() as scratch:
        for row in generate(model.folder(store, Path(scratch)), prompts, config, model.name):
            write(row)


def _answer(checkpoint: str, task: Task, config: AnswerConfig, out: str | None) -> None:
    template = template_for(task, config)
    store = Store()
    data = find_data(task)
    rows = data.read(config.split)
    examples = [rows[index] for index in sample(len(rows), config.limit, 0)]
    train = data.read("train") if config.shots else []
    model = find_model(checkpoint, store)
    with lines_to(out) as write, tempfile.TemporaryDirectory() as scratch:
        found = answer(
            model.folder(store, Path(scratch)),
            examples,
            task.labels,
            template=template,
            score=config.score,
            shots=choose_shots(train, [task.kind.stratum(e) for e in train], config.shots, config.shots_seed),
            chat=config.chat,
            batch_size=config.batch_size,
            device_map=config.device_map,
            name=model.name,
        )
        for row in found.rows(examples):
            write(row)
    scores = answer_scores(task.kind, examples, found, config.split)
    whole = len(examples) == len(rows)
    screen = console() if out is not None else Console(stderr=True, highlight=False, markup=False, width=160)
    screen.print(as_table(_summary(scores, found, task if whole else None, model.name)))


def _summary(
    scores: Sequence[dict[str, Any]], found: Answers, task: Task | None, model: str
) -> list[dict[str, Any]]:
    """The metrics of the task beside the majority class and, for a whole split, what was published."""
    values = {row["metric"]: row["value"] for row in scores if "label" not in row}
    lines = []
    for row in scores:
        majority = values.get(f"majority_{row['metric']}")
        if "label" in row or majority is None:
            continue
        beside = published_answer({**row, "model": model}, task.published) if task is not None else None
        lines.append(
            {
                "metric": row["metric"],
                "value": row["value"],
                "majority class": majority,
                **published_columns(beside),
                "n": row["n"],
            }
        )
    counts = ", ".join(f"{label} {found.count(label)}" for label in found.labels)
    return [{**line, "answers": counts} for line in lines]


def _refuse(options: dict[str, Any], of: type[Config], instead: type[Config], what: str) -> None:
    """InputError for an option that was given and has no meaning here."""
    for name, value in options.items():
        if value is not None and name in of.model_fields and name not in instead.model_fields:
            raise InputError(f"--{name.replace('_', '-')} has no meaning for {what}")
