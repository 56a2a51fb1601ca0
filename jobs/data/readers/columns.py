"""Which column of a file plays which role: by name, by one of several names, or by its number."""

from collections.abc import Mapping, Sequence
from typing import Any

from microtome.jobs.data.readers.formats import ROLES
from microtome.jobs.data.readers.parsing import texts_of
from microtome.store.errors import InputError, unknown

Column = str | int
Columns = Column | tuple[Column, ...]  # one, or several names of which a file has one

TEXTS = ("text_a", "text_b")
PARTS = "[]"  # behind a column that is a list of texts
USUAL: dict[str, Columns] = {"id": "id", "text_a": "text_a", "label": "label"}  # where a task names none


def with_nested(row: Mapping[str, Any], named: Mapping[str, Columns], where: str) -> Mapping[str, Any]:
    """The row, and what lies in its objects and lists, if the task names any of that: context.title is the
    title in the object context, context.parts[] the texts of the list that is there, joined by blanks."""
    names = [name for role in named.values() for name in (role if isinstance(role, tuple) else (role,))]
    paths = [name for name in names if isinstance(name, str) and ("." in name or name.endswith(PARTS))]
    paths = [path for path in paths if path not in row]
    if not paths:
        return row
    values = nested_values(row) | dict(row)
    for path in paths:
        whole = path.removesuffix(PARTS)
        if whole != path and whole in values:
            values[path] = " ".join(texts_of(values[whole], f"{where}: '{whole}'"))
    return values


def nested_values(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """What lies in the objects of a row, by its path: the title in the object context is context.title."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if before:
            values[f"{before}{name}"] = value
        if isinstance(value, dict):
            values |= nested_values(value, f"{before}{name}.")
    return values


def columns_of(
    named: Mapping[str, Columns], header: Sequence[str], where: str, *, labelled: bool = True
) -> dict[str, str]:
    """Role -> the column of a file with this header. Every role that the task names must be there, and a text
    and a label in any case; an id only if it is named. InputError says which one is not, and what there is.
    """
    columns: dict[str, str] = {}
    for role in ROLES:
        if role == "label" and not labelled:
            continue
        if role not in named and (role not in USUAL or (role in TEXTS and "words" in named)):
            continue
        column = _first_of(named.get(role, USUAL.get(role, role)), header)
        if column is not None:
            columns[role] = column
        elif role != "id" or role in named:
            raise _missing(role, named.get(role), header, where)
    return columns


def _first_of(wanted: Columns, header: Sequence[str]) -> str | None:
    for column in wanted if isinstance(wanted, tuple) else (wanted,):
        if isinstance(column, int):
            if -len(header) <= column < len(header):
                return header[column]
        elif column in header:
            return column
    return None


def _missing(role: str, wanted: Columns | None, header: Sequence[str], where: str) -> InputError:
    if wanted is None:
        there = f"there is no '{USUAL[role]}'. Columns: {', '.join(map(str, header))}"
        return InputError(f"{where}: no column for {role}: the task's columns name none, and {there}")
    if isinstance(wanted, int):
        count = f"the file has {len(header)}, from 0 to {len(header) - 1}"
        return InputError(f"{where}: columns.{role} is column {wanted}, but {count}")
    if isinstance(wanted, tuple):
        names = "' or '".join(map(str, wanted))
        return InputError(f"{where}: no column '{names}' for {role}. Columns: {', '.join(map(str, header))}")
    return unknown(f"column in {where}", wanted, header)
