"""`microtome extract` against a script that does it the common way, from shell to shell: each is a process of
its own, which imports, loads, tokenises, computes and writes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from microtome.jobs.data.examples import Example
from tests.bench.measuring import Bench, Row, Speed
from tests.bench.startup import RUN, environment

REPEATS = 3
SCRIPT = Path(__file__).with_name("one_by_one.py")
DATA_FILES = ("train.tsv", "devel.tsv", "test.tsv")  # as the task's file names them
# What is kept, the options that say so, and how many times as fast as the script it has to be.
EXTRACTIONS: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("hidden states", ("--keep", "hidden"), 2.5),
    ("hidden states and attentions", (), 2.0),
    ("hidden states of words", ("--keep", "hidden", "--tokens", "words"), 2.5),
    ("hidden states and the 8 largest weights of each row", ("--attention-topk", "8"), 2.0),
    ("hidden states in bfloat16", ("--keep", "hidden", "--compute", "bfloat16"), 4.0),
)


class Usage(NamedTuple):
    """What a process took; other programs on the machine disturb the seconds of processors least."""

    cpu_seconds: float
    wall_seconds: float


def whole_process(bench: Bench) -> list[Row]:
    """Best of a few runs of each, in turn, so that a change of the machine's speed hits all."""
    commands = {what: extract_command(bench, options) for what, options, _ in EXTRACTIONS}
    variables = environment() | surroundings(bench)
    usages: dict[str, list[Usage]] = {what: [] for what in (*commands, SCRIPT.name)}
    for _ in range(REPEATS):
        for what, command in (*commands.items(), (SCRIPT.name, script_command(bench))):
            usages[what].append(used(command, variables))
            shutil.rmtree(variables["MICROTOME_STORE"], ignore_errors=True)
    best = {what: Usage(*map(min, zip(*several, strict=True))) for what, several in usages.items()}
    return [
        row for what, _, least in EXTRACTIONS for row in _rows(what, best[what], best[SCRIPT.name], least)
    ]


def _rows(what: str, ours: Usage, script: Usage, least: float) -> list[Row]:
    other = "a script that runs one sentence at a time, hidden states only"
    return [
        Speed(
            f"microtome extract from shell to shell ({what}), in {seconds} seconds",
            other,
            theirs / mine,
            least,
            f"{mine:.1f} and {theirs:.1f} s",
        )
        for seconds, mine, theirs in zip(("processor", "wall"), ours, script, strict=True)
    ]


def used(command: Sequence[str], variables: Mapping[str, str]) -> Usage:
    """What a command takes, that of the processes that it starts included."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Usage(usage.ru_utime + usage.ru_stime, time.perf_counter() - start)


def script_command(bench: Bench) -> list[str]:
    """The script over the first sentences of a bench, which it writes into a file."""
    sentences = bench.folder / "sentences.txt"
    lines = [" ".join(example.texts[0]) for example in _few(bench)]
    sentences.write_text("\n".join(lines) + "\n", "utf-8")
    out = bench.folder / "one_by_one.h5"
    return [sys.executable, str(SCRIPT), str(bench.model_folder), str(sentences), str(out)]


def extract_command(bench: Bench, options: Sequence[str]) -> list[str]:
    """`microtome extract` over the same sentences, which it writes as the data of the task."""
    folder = bench.folder / "data" / bench.task.name
    folder.mkdir(parents=True, exist_ok=True)
    sentences = ["".join(f"{word}\t{tag}\n" for word, tag in _tagged(example)) for example in _few(bench)]
    for name in DATA_FILES:
        (folder / name).write_text("\n".join(sentences), "utf-8")
    arguments = ["extract", "--checkpoint", str(bench.model_folder), "--task", bench.task.name, *options]
    return [sys.executable, "-c", RUN, *arguments]


def surroundings(bench: Bench) -> dict[str, str]:
    """The variables under which both run."""
    return {
        "MICROTOME_DATA": str(bench.folder / "data"),
        "MICROTOME_STORE": str(bench.folder / "whole-process"),
        "HF_HUB_OFFLINE": "1",
    }


def _tagged(example: Example) -> Iterator[tuple[str, str]]:
    return zip(example.texts[0], cast(tuple[str, ...], example.label), strict=True)


def _few(bench: Bench) -> Sequence[Example]:
    return bench.sentences[: bench.few_examples]
