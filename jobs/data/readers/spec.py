"""The `data:` section of a task: which files, in which format, and what their columns mean."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from jobs.data.examples import SPLITS, Example, Label
from store.config import Config
from store.errors import InputError, unknown


class DataSpec(Config):
    """Where the splits of a task are and how to read them."""

    format: str = Field(description="reader, by its name in jobs/data/readers")
    files: dict[str, str] = Field(description="split (train, dev, test) -> file, or folder")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="what a row is made of (id, text_a, text_b, words, label) -> its name",
    )
    label_map: dict[str, str] = Field(
        default_factory=dict, description="label as published -> label of the task, where they differ"
    )
    target: Literal["class", "classes", "number"] = Field(
        "class", description="what the label column holds: a class, several (joined by commas), or a number"
    )
    quoting: Literal["none", "csv"] = Field(
        "none",
        description="of a tsv: none takes a double quote as it stands; csv takes it off quoted cells",
    )
    entity: str | None = Field(None, description="type of B and I tags that name none")
    hold_out: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict,
        description="splits that were never published -> their share of the training file's documents",
    )
    document: str | None = Field(
        None,
        description="regular expression whose group finds an example's document in its id; the id if unset",
    )
    root: str | None = Field(None, description="folder of the files, relative to the task file")

    @field_validator("document")
    @classmethod
    def _finds_a_document(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression ({error})") from None
        if groups != 1:
            raise ValueError(f"a regular expression with one group is wanted, here are {groups}")
        return pattern

    @model_validator(mode="after")
    def _splits(self) -> "DataSpec":
        for split in (*self.files, *self.hold_out):
            if split not in SPLITS:
                raise ValueError(f"'{split}' is no split (splits: {', '.join(SPLITS)})")
        if "train" not in self.files:
            raise ValueError("files: no train")
        both = set(self.files) & set(self.hold_out)
        if both:
            raise ValueError(f"hold_out: {min(both)} has a file of its own")
        if self.hold_out and list(self.files.values()).count(self.files["train"]) > 1:
            raise ValueError("hold_out: the file of train is that of another split too")
        if sum(self.hold_out.values()) >= 1:
            raise ValueError("hold_out: nothing is left to train on")
        return self

    def label(self, published: Any, where: str) -> str:
        """The task's name for a published label; an absent one is an InputError."""
        if published is None or published == "" or published != published:
            raise InputError(f"{where}: no label")
        return self.label_map.get(str(published), str(published))

    def number(self, published: Any, where: str) -> float:
        """A published score; InputError if it is none."""
        try:
            value = float(published)
        except (TypeError, ValueError):
            raise InputError(f"{where}: '{published}' is no number") from None
        if value != value:
            raise InputError(f"{where}: no score")
        return value


def pair_or_text(row: Mapping[str, Any], spec: DataSpec, number: int, where: str) -> Example:
    """An example of one or two texts from a row of named columns."""
    columns = {"id": "id", "text_a": "text_a", "label": "label", **spec.columns}
    texts = []
    for role in ("text_a", "text_b"):
        if role in columns:
            texts.append(tuple(str(_cell(row, columns[role], where)).split()))
    published = row.get(columns["label"])
    label: Label
    if spec.target == "number":
        label = spec.number(published, where)
    elif spec.target == "classes":
        names = (name.strip() for name in str(published or "").split(","))
        label = tuple(spec.label(name, where) for name in names if name)
    else:
        label = spec.label(published, where)
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
