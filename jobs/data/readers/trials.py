"""Exports of ClinicalTrials.gov: what a trial is about, and the sex that it takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import csv_rows, read_json, text_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError, unknown

TEXTS = ("Study Title", "Title", "Brief Summary", "Conditions", "Interventions")
NO_SEX = "missing"


def read_trials(path: Path, spec: DataSpec) -> list[Example]:
    """CSV exports of the present site and of the one before it, and JSON of the API.

    The text is title, summary, conditions and interventions, as far as the export has them. The label is
    the sex with a capital letter, or `missing`.
    """
    examples = []
    found = _json_trials(path) if path.suffix == ".json" else _csv_trials(path, spec.labelled)
    for where, key, text, sex in found:
        label = spec.label(sex.strip().capitalize() or NO_SEX, where)
        examples.append(Example(key, (tuple(text.split()),), label, where=where))
    return examples


Trials = Iterator[tuple[str, str, str, str]]  # place, id, text, sex


def _csv_trials(path: Path, labelled: bool) -> Trials:
    for where, row in csv_rows(path, needs=("NCT Number", "Conditions", "Interventions")):
        sex = "Sex" if "Sex" in row else "Gender"
        title = "Study Title" if "Study Title" in row else "Title"
        for column in (sex, title) if labelled else (title,):
            if column not in row:
                raise unknown(f"column in {path}", column, row)
        text = " ".join(row.get(column, "").replace("|", " ") for column in TEXTS)
        yield where, row["NCT Number"], text, row.get(sex, "")


def _json_trials(path: Path) -> Trials:
    records = read_json(path)
    if not isinstance(records, list):
        raise InputError(f"{path}: expected a list of trials, found {type(records).__name__}")
    for number, record in enumerate(records):
        where = f"{path}: record {number}"
        trial = record.get("protocolSection") if isinstance(record, dict) else None
        if not isinstance(trial, dict) or "nctId" not in _module(trial, "identificationModule", where):
            raise InputError(f"{where}: no protocolSection.identificationModule.nctId")
        key = text_of(trial["identificationModule"]["nctId"], where)
        sex = text_of(_module(trial, "eligibilityModule", where).get("sex") or "", where)
        yield where, key, " ".join(text_of(text, where) for text in _texts(trial, where)), sex


def _texts(trial: dict[str, Any], where: str) -> Iterator[Any]:
    """The same texts as in the CSV exports; an intervention is `TYPE: name` there."""
    yield _module(trial, "identificationModule", where).get("briefTitle", "")
    yield _module(trial, "descriptionModule", where).get("briefSummary", "")
    yield from _listed(_module(trial, "conditionsModule", where), "conditions", str, where)
    arms = _module(trial, "armsInterventionsModule", where)
    for intervention in _listed(arms, "interventions", dict, where):
        yield f"{intervention.get('type', 'OTHER')}: {intervention.get('name', '')}"


def _module(trial: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """A part of a trial; empty if it has none."""
    module = trial.get(name, {})
    if not isinstance(module, dict):
        raise InputError(f"{where}: expected an object as {name}, found {type(module).__name__}")
    return module


def _listed(module: dict[str, Any], name: str, kind: type, where: str) -> list[Any]:
    """A list in a module, of one kind of things; empty if there is none."""
    found = module.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise InputError(f"{where}: {name} are no list of {'texts' if kind is str else 'objects'}")
    return found
