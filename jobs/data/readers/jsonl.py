"""JSON Lines: an object per line, columns named by the task."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import json_rows
from microtome.jobs.data.readers.spec import DataSpec, pair_or_text


def read_jsonl(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order; MedNLI and SNLI-like files as published. Blank lines are passed over."""
    return [pair_or_text(row, spec, number, where) for number, (where, row) in enumerate(json_rows(path))]
