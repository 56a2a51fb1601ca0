"""NLI4CT (SemEval-2023 task 7): statements about a section of one or two clinical trial reports."""

import functools
from pathlib import Path
from typing import Any

from jobs.data.examples import Example
from jobs.data.readers.parsing import read_json
from jobs.data.readers.spec import DataSpec
from store.errors import InputError

TRIALS = "CT json"


def read_nli4ct(path: Path, spec: DataSpec) -> list[Example]:
    """Premise: the whole section, of both trials for a Comparison. Hypothesis: the statement.

    The trials are read from `CT json/<id>.json` beside the file.
    """
    items = read_json(path)
    if not isinstance(items, dict):
        raise InputError(f"{path}: expected an object keyed by id, found {type(items).__name__}")
    trial = functools.cache(lambda name: read_json(path.parent / TRIALS / f"{name}.json"))
    examples = []
    for key, item in items.items():
        where = f"{path}: item {key}"
        label = spec.label(item.get("Label"), where)
        premise = _section(trial(item["Primary_id"]), item, where)
        if item["Type"] == "Comparison":
            other = _section(trial(item["Secondary_id"]), item, where)
            premise = ["Primary", "trial:", *premise, "Secondary", "trial:", *other]
        examples.append(Example(key, (tuple(premise), tuple(item["Statement"].split())), label))
    return examples


def _section(report: dict[str, list[str]], item: dict[str, Any], where: str) -> list[str]:
    name = item["Section_id"]
    if name not in report:
        raise InputError(f"{where}: its trial has no section '{name}'")
    return [word for line in report[name] for word in line.split()]
