"""NLI4CT (SemEval-2023 task 7): statements about a section of one or two clinical trial reports."""

import functools
from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import json_objects, read_json, text_of, texts_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

TRIALS = "CT json"


def read_nli4ct(path: Path, spec: DataSpec) -> list[Example]:
    """Premise: the whole section, of both trials for a Comparison. Hypothesis: the statement.

    The trials are read from `CT json/<id>.json` beside the file. The document of a statement is its first
    trial.
    """
    trial = functools.cache(lambda name: _report(path.parent / TRIALS, name))
    examples = []
    for key, item in json_objects(path, keyed_by="id").items():
        where = f"{path}: item {key}"
        label = spec.label(item.get("Label"), where)
        primary = _told(item, "Primary_id", where)
        premise = _section(trial(primary), item, where)
        if _told(item, "Type", where) == "Comparison":
            other = _section(trial(_told(item, "Secondary_id", where)), item, where)
            premise = ["Primary", "trial:", *premise, "Secondary", "trial:", *other]
        statement = tuple(_told(item, "Statement", where).split())
        texts = tuple(premise), statement
        examples.append(Example(key, texts, label, document=primary, where=where))
    return examples


def _report(folder: Path, name: str) -> dict[str, Any]:
    if Path(name).name != name:
        raise InputError(f"{folder}: '{name}' is no id of a trial")
    found = read_json(folder / f"{name}.json")
    if not isinstance(found, dict):
        raise InputError(f"{folder / name}.json: expected an object, found {type(found).__name__}")
    return found


def _section(report: dict[str, Any], item: dict[str, Any], where: str) -> list[str]:
    name = _told(item, "Section_id", where)
    if name not in report:
        raise InputError(f"{where}: its trial has no section '{name}'")
    return [word for line in texts_of(report[name], f"{where}: section '{name}'") for word in line.split()]


def _told(item: dict[str, Any], name: str, where: str) -> str:
    """What an item says under a name: a text."""
    if name not in item:
        raise InputError(f"{where}: has no {name}")
    return text_of(item[name], f"{where}: {name}")
