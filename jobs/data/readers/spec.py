"""The `data:` section of a task: which files, in which format, and what their columns mean."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from jobs.data.examples import Example
from store.config import Config
from store.errors import InputError, unknown


class DataSpec(Config):
    """Where the splits of a task are and how to read them."""

    format: str = Field(description="reader: conll, jsonl, nli4ct, parquet, tsv or synthetic")
    files: dict[str, str] = Field(description="split (train, dev, test) -> file")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="what a row is made of (id, text_a, text_b, words, label) -> its name",
    )
    label_map: dict[str, str] = Field(
        default_factory=dict, description="label as published -> label of the task, where they differ"
    )
    root: str | None = Field(None, description="folder of the files, relative to the task file")

    def label(self, published: Any, where: str) -> str:
        """The task's name for a published label; an absent one is an InputError."""
        if published is None or published == "" or published != published:
            raise InputError(f"{where}: no label")
        return self.label_map.get(str(published), str(published))


def pair_or_text(row: Mapping[str, Any], spec: DataSpec, number: int, where: str) -> Example:
    """An example of one or two texts from a row of named columns."""
    columns = {"id": "id", "text_a": "text_a", "label": "label", **spec.columns}
    texts = []
    for role in ("text_a", "text_b"):
        if role in columns:
            texts.append(tuple(str(_cell(row, columns[role], where)).split()))
    label = spec.label(row.get(columns["label"]), where)
    return Example(str(row.get(columns["id"], number)), tuple(texts), label)


def _cell(row: Mapping[str, Any], column: str, where: str) -> Any:
    value = row.get(column)
    if value is None:
        raise (
            unknown("column", column, row)
            if column not in row
            else InputError(f"{where}: '{column}' is empty")
        )
    return value


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what can go wrong with a file into one line about that file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a file") from None
    except FileNotFoundError:
        raise InputError(f"{path}: No such file or directory") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
