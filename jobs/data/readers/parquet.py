"""Parquet as the hub converts its datasets: rows of words and tags, or of texts and a class."""

import json
from pathlib import Path
from typing import Any

from jobs.data.examples import Example
from jobs.data.readers.spec import DataSpec, pair_or_text, reading
from store.errors import InputError, unknown


def read_parquet(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order. Class numbers become names through the features stored in the file."""
    import pyarrow
    import pyarrow.parquet

    with reading(path):
        try:
            table = pyarrow.parquet.read_table(path)
        except pyarrow.ArrowInvalid as error:
            raise InputError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    for column in spec.columns.values():
        if column not in table.column_names:
            raise unknown(f"column in {path}", column, table.column_names)
    names = _class_names(table, spec.columns["label"])
    rows = table.to_pylist()
    if "words" in spec.columns:
        return [_tagged(row, spec, names, i, f"{path}: row {i}") for i, row in enumerate(rows)]
    examples = []
    for number, row in enumerate(rows):
        row[spec.columns["label"]] = _name(row[spec.columns["label"]], names)
        examples.append(pair_or_text(row, spec, number, f"{path}: row {number}"))
    return examples


def _tagged(row: dict[str, Any], spec: DataSpec, names: list[str], number: int, where: str) -> Example:
    words = tuple(str(word) for word in row[spec.columns["words"]])
    tags = tuple(spec.label(_name(tag, names), where) for tag in row[spec.columns["label"]])
    if len(words) != len(tags):
        raise InputError(f"{where}: {len(words)} words but {len(tags)} tags")
    return Example(str(row.get(spec.columns.get("id", "id"), number)), (words,), tags)


def _class_names(table: Any, column: str) -> list[str]:
    """The class names that `datasets` keeps in the schema, or none; read where it is not installed too."""
    noted = (table.schema.metadata or {}).get(b"huggingface")
    features = json.loads(noted).get("info", {}).get("features", {}) if noted else {}
    feature = features.get(column, {})
    if isinstance(feature, list):  # how a list of classes was noted before it was {"feature": ...}
        feature = feature[0]
    return list(feature.get("feature", feature).get("names") or [])


def _name(value: Any, names: list[str]) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value
