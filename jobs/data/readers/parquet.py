"""Parquet as the hub converts its datasets: rows of words and tags, or of texts and a class."""

import json
from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.columns import columns_of, with_nested
from microtome.jobs.data.readers.opening import reading
from microtome.jobs.data.readers.rows import example_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError


def read_parquet(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order. Class numbers become names through the features stored in the file."""
    table, rows = _table(path)
    columns = table.column_names
    for column in columns:
        if columns.count(column) > 1:
            raise InputError(f"{path}: has the column '{column}' {columns.count(column)} times")
    rows = [dict(with_nested(row, spec.columns, f"{path}: row {number}")) for number, row in enumerate(rows)]
    header = list(rows[0]) if rows else columns
    roles = columns_of(spec.columns, header, str(path), labelled=spec.labelled)
    label = roles.get("label")
    names = _class_names(table, label, path) if label is not None else []
    examples = []
    for number, row in enumerate(rows):
        if label is not None:
            row[label] = _named(row[label], names)
        examples.append(example_of(row, spec, number, f"{path}: row {number}", roles))
    return examples


def named_rows(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The first rows of a file, or all, with names of classes in place of their numbers in every column."""
    table, rows = _table(path, most)
    names = {column: _class_names(table, column, path) for column in table.column_names}
    return [{column: _named(value, names[column]) for column, value in row.items()} for row in rows]


def _table(path: Path, most: int | None = None) -> tuple[Any, list[dict[str, Any]]]:
    """A file as a table and as rows, of which `most` are read."""
    import pyarrow
    import pyarrow.parquet

    with reading(path):
        try:
            table = pyarrow.parquet.read_table(path)
            return table, table.slice(0, most).to_pylist()
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None


def _named(value: Any, names: list[str]) -> Any:
    """A label, or a list of them, with the names of the classes in place of their numbers."""
    return [_name(item, names) for item in value] if isinstance(value, list) else _name(value, names)


def _class_names(table: Any, column: str, path: Path) -> list[str]:
    """The class names that `datasets` keeps in the schema, or none; read where it is not installed too."""
    noted = (table.schema.metadata or {}).get(b"huggingface")
    if not noted:
        return []
    try:
        feature = json.loads(noted).get("info", {}).get("features", {}).get(column, {})
        if isinstance(feature, list):  # how a list of classes was noted before it was {"feature": ...}
            feature = feature[0]
        names = list(feature.get("feature", feature).get("names") or [])
    except (ValueError, AttributeError, TypeError, IndexError, RecursionError) as error:
        raise InputError(
            f"{path}: the features that its schema names cannot be read ({error!r:.80})"
        ) from None
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: the features that its schema names cannot be read (a class is no text)")
    return names


def _name(value: Any, names: list[str]) -> Any:
    numbered = names and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names)
    return names[value] if numbered else value
