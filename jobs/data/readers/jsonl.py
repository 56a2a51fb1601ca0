"""JSON: an object per line, or a list of objects in one file; columns named by the task."""

from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import json_rows, read_json
from microtome.jobs.data.readers.rows import example_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError, unknown


def read_jsonl(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order; MedNLI and SNLI-like files as published. Blank lines are passed over."""
    return [example_of(row, spec, number, where) for number, (where, row) in enumerate(json_rows(path))]


def read_json_list(path: Path, spec: DataSpec) -> list[Example]:
    """The objects of the list that a JSON file is, or that it has at the keys of `record`."""
    value = read_json(path)
    for key in spec.record.split(".") if spec.record is not None else ():
        if not isinstance(value, dict):
            raise InputError(f"{path}: record '{spec.record}': expected an object around '{key}'")
        if key not in value:
            raise unknown(f"key of record in {path}", key, value)
        value = value[key]
    if not isinstance(value, list):
        keys = (
            f" with the keys {', '.join(value)}; record names the one with the list"
            if isinstance(value, dict)
            else ""
        )
        raise InputError(f"{path}: expected a list of objects, found {type(value).__name__}{keys}")
    return [
        example_of(_object(row, f"{path}: item {i}"), spec, i, f"{path}: item {i}")
        for i, row in enumerate(value)
    ]


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{where}: expected an object, found {type(row).__name__}")
    return row
