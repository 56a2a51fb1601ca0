"""Parquet as the hub converts its datasets: rows of words and tags, or of texts and a class."""

import json
from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.opening import reading
from microtome.jobs.data.readers.parsing import texts_of
from microtome.jobs.data.readers.spec import DataSpec, pair_or_text, row_id
from microtome.store.errors import InputError, unknown


def read_parquet(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order. Class numbers become names through the features stored in the file."""
    import pyarrow
    import pyarrow.parquet

    with reading(path):
        try:
            table = pyarrow.parquet.read_table(path)
            rows = table.to_pylist()
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    columns = table.column_names
    for column in columns:
        if columns.count(column) > 1:
            raise InputError(f"{path}: has the column '{column}' {columns.count(column)} times")
    for column in spec.needed_columns:
        if column not in columns:
            raise unknown(f"column in {path}", column, columns)
    label = spec.named_columns["label"]
    names = _class_names(table, label, path) if spec.labelled else []
    examples = []
    for number, row in enumerate(rows):
        where = f"{path}: row {number}"
        if "words" in spec.columns:
            examples.append(_tagged(row, spec, names, number, where))
        else:
            examples.append(pair_or_text(row | {label: _name(row.get(label), names)}, spec, number, where))
    return examples


def _tagged(row: dict[str, Any], spec: DataSpec, names: list[str], number: int, where: str) -> Example:
    columns = spec.named_columns
    words = tuple(texts_of(row[columns["words"]], f"{where}: '{columns['words']}'"))
    tags: tuple[str, ...] = ("O",) * len(words)
    if spec.labelled:
        published = row[columns["label"]]
        if not isinstance(published, list):
            raise InputError(f"{where}: expected a list of tags, found {published!r:.40}")
        tags = tuple(spec.label(_name(tag, names), where) for tag in published)
    if len(words) != len(tags):
        raise InputError(f"{where}: {len(words)} words but {len(tags)} tags")
    return Example(row_id(row.get(columns["id"], number), where), (words,), tags, where=where)


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
