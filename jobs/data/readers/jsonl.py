"""JSON Lines: an object per line, columns named by the task."""

import json
from pathlib import Path

from jobs.data.examples import Example
from jobs.data.readers.spec import DataSpec, pair_or_text, reading
from store.errors import InputError


def read_jsonl(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order; MedNLI and SNLI-like files as published. Blank lines are passed over."""
    examples: list[Example] = []
    with reading(path), path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{where}: not JSON ({error.msg})") from None
            if not isinstance(row, dict):
                raise InputError(f"{where}: expected an object, found {type(row).__name__}")
            examples.append(pair_or_text(row, spec, len(examples), where))
    return examples
