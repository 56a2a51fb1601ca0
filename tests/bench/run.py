"""Benchmarks, both sides of each measured in one run: `make bench` prints a row each and writes bench.json.

Sentences are those of bc5cdr-disease where MICROTOME_DATA has it, else synthetic. The model is a six-layer,
384-wide encoder with random weights on a CPU: its speed does not depend on what it has learned.
"""

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tests.bench import analyses, extraction
from tests.bench.measuring import Amount, Bench, Row
from tests.bench.startup import over_click
from tests.bench.whole_process import whole_process

# What the published study used, with random weights; the model of a CPU is a small BERT.
ON_A_GPU = {
    "bert-base": {"architecture": "bert", "dim": 768, "layers": 12, "heads": 12},
    "gpt2-medium": {"architecture": "gpt2", "dim": 1024, "layers": 24, "heads": 16},
    "biogpt": {"architecture": "biogpt", "dim": 1024, "layers": 24, "heads": 16},
}
ON_A_CPU = {"small-bert": {"architecture": "bert", "dim": 384, "layers": 6, "heads": 12}}


def measure(
    name: str, device: str, shape: dict[str, Any], *benches: Callable[[Bench], list[Row]]
) -> Iterator[dict[str, Any]]:
    """Run benches on one model; every row is printed when it is measured."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("MICROTOME_BENCH")) as folder:
        bench = Bench(Path(folder), device, **shape)
        for part in benches:
            for row in part(bench):
                yield printed(row, name, device)
            bench.clear()


def printed(row: Row, name: str, device: str) -> dict[str, Any]:
    """Print a row of the table; returns it as it stands in bench.json."""
    mark = "ok " if row.met else "OFF"
    print(f"{mark} {name}: {row.words} ({row.bound}; {row.detail})", flush=True)
    return asdict(row) | {"model": name, "device": device, "words": row.words, "met": row.met}


def starting() -> list[Row]:
    """What a command takes before it does anything, over the import of click, which it cannot do without."""
    bounds = {"--help": 5.0, "suite ls": 10.0, "task ls": 16.0}
    rows: list[Row] = []
    for command, bound in bounds.items():
        value, detail = over_click(*command.split())
        rows.append(Amount(f"CPU time of microtome {command} over import click", value, bound, detail))
    return rows


def main() -> None:
    """All rows of this machine, on the screen and in bench.json."""
    rows = [printed(row, "start", "cpu") for row in starting()]
    for name, shape in ON_A_CPU.items():
        rows += measure(
            name,
            "cpu",
            shape,
            extraction.extraction_cost,
            extraction.bytes_on_disk,
            extraction.reading_a_layer,
            analyses.probing_again,
            analyses.rbf_probe,
            analyses.comparing_attentions,
            analyses.fine_tuning,
            whole_process,
        )
        rows += measure(f"{name}, jnlpba", "cpu", shape | {"task": "jnlpba"}, analyses.linear_probe)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
        for name, shape in ON_A_GPU.items():
            rows += measure(name, "cuda", shape, extraction.extraction_cost, extraction.writing)
    print(f"on {machine}")
    Path("bench.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
