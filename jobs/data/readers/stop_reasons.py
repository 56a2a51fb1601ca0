"""Why trials were stopped: free text with any number of classes, as tables of booleans."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import csv_rows
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

TRUE, FALSE, NOT_APPLICABLE = ("true", "1"), ("false", "0"), "NA"
COVID_CLASSES = ("covid19_explicit", "restart_expected")


def read_boolean_classes(path: Path, spec: DataSpec) -> list[Example]:
    """A text column (`columns: text_a`, and `id` if there is one) and a boolean column per class.

    A column is a class if all its values are true, false, 1 or 0, whatever their case.
    """
    text, key = (spec.columns.get(role, usual) for role, usual in (("text_a", "text"), ("id", None)))
    if not isinstance(text, str) or not isinstance(key, str | None):
        raise InputError("columns: boolean-classes takes the names of columns")
    table = list(csv_rows(path, needs=[name for name in (text, key) if name is not None]))
    names = [name for name in (table[0][1] if table else ()) if name not in (text, key)]
    classes = [name for name in names if _is_class(name, table)] if spec.labelled else []
    if table and spec.labelled and not classes:
        raise InputError(f"{path}: no column holds only true and false")
    examples = []
    for number, (where, row) in enumerate(table):
        words = tuple(row[text].split())
        label = tuple(spec.label(name, where) for name in classes if row[name].strip().lower() in TRUE)
        examples.append(Example(str(number) if key is None else row[key], (words,), label, where=where))
    return examples


def read_covid_stop_reasons(path: Path, spec: DataSpec) -> list[Example]:
    """The trials of ctcovidstop that say why they stopped; the id is the trial and the number of its row.

    Whether a restart is expected was asked only about stops that name COVID-19: `NA` is false there.
    """
    examples = []
    classes = COVID_CLASSES if spec.labelled else ()
    rows = csv_rows(path, needs=("nctid", "why_stopped", *classes))
    for number, (where, row) in enumerate(rows):
        label = tuple(spec.label(name, where) for name in classes if _is_true(row, name, where))
        if row["why_stopped"].strip() not in ("", NOT_APPLICABLE):
            id, words = f"{row['nctid']}_{number}", tuple(row["why_stopped"].split())
            examples.append(Example(id, (words,), label, document=row["nctid"], where=where))
    return examples


def _is_class(name: str, table: list[tuple[str, dict[str, str]]]) -> bool:
    """Whether all values are boolean. Where some are `true` or `false`, others are a fault of the file."""
    values = [row[name].strip().lower() for _, row in table]
    strange = next((i for i, value in enumerate(values) if value not in TRUE + FALSE), None)
    if strange is not None and ("true" in values or "false" in values):
        where, row = table[strange]
        raise InputError(f"{where}: '{name}' is '{row[name]}', not true or false")
    return strange is None


def _is_true(row: dict[str, str], name: str, where: str) -> bool:
    value = row[name].strip()
    if value.lower() not in TRUE + FALSE and value != NOT_APPLICABLE:
        raise InputError(f"{where}: '{name}' is '{value}', not TRUE, FALSE or NA")
    return value.lower() in TRUE
