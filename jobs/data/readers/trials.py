"""Exports of ClinicalTrials.gov: what a trial is about, and the sex that it takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.data.examples import Example
from jobs.data.readers.parsing import csv_rows, read_json
from jobs.data.readers.spec import DataSpec
from store.errors import InputError, unknown

TEXTS = ("Study Title", "Title", "Brief Summary", "Conditions", "Interventions")
NO_SEX = "missing"


def read_trials(path: Path, spec: DataSpec) -> list[Example]:
    """CSV exports of the present site and of the one before it, and JSON of the API.

    The text is title, summary, conditions and interventions, as far as the export has them. The label is
    the sex with a capital letter, or `missing`.
    """
    examples = []
    for where, key, text, sex in _json_trials(path) if path.suffix == ".json" else _csv_trials(path):
        label = spec.label(sex.strip().capitalize() or NO_SEX, where)
        examples.append(Example(key, (tuple(text.split()),), label))
    return examples


Trials = Iterator[tuple[str, str, str, str]]  # place, id, text, sex


def _csv_trials(path: Path) -> Trials:
    for where, row in csv_rows(path, needs=("NCT Number", "Conditions", "Interventions")):
        sex = "Sex" if "Sex" in row else "Gender"
        title = "Study Title" if "Study Title" in row else "Title"
        for column in (sex, title):
            if column not in row:
                raise unknown(f"column in {path}", column, row)
        text = " ".join(row.get(column, "").replace("|", " ") for column in TEXTS)
        yield where, row["NCT Number"], text, row[sex]


def _json_trials(path: Path) -> Trials:
    records = read_json(path)
    if not isinstance(records, list):
        raise InputError(f"{path}: expected a list of trials, found {type(records).__name__}")
    for number, record in enumerate(records):
        where = f"{path}: record {number}"
        try:
            trial = record["protocolSection"]
            key = trial["identificationModule"]["nctId"]
        except (KeyError, TypeError):
            raise InputError(f"{where}: no protocolSection.identificationModule.nctId") from None
        sex = trial.get("eligibilityModule", {}).get("sex") or ""
        yield where, key, " ".join(_texts(trial)), sex


def _texts(trial: dict[str, Any]) -> Iterator[str]:
    """The same texts as in the CSV exports; an intervention is `TYPE: name` there."""
    yield trial["identificationModule"].get("briefTitle", "")
    yield trial.get("descriptionModule", {}).get("briefSummary", "")
    yield from trial.get("conditionsModule", {}).get("conditions", ())
    for intervention in trial.get("armsInterventionsModule", {}).get("interventions", ()):
        yield f"{intervention.get('type', 'OTHER')}: {intervention.get('name', '')}"
