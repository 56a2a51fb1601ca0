"""The `data:` section of a task: which files, in which format, and what their columns mean."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from microtome.jobs.data.examples import SPLITS, Example, Label
from microtome.jobs.data.readers.marks import MARKS, Marks, mark_patterns, marked, marks_that_fit
from microtome.jobs.data.readers.parsing import text_of
from microtome.store.config import Config
from microtome.store.errors import InputError, unknown

TEXTS = ("text_a", "text_b")
ROLES = ("id", *TEXTS, "words", "label")
USUAL = {"id": "id", "text_a": "text_a", "label": "label"}  # columns of a file that names none
# What each format reads besides what every format has. A format that is not here takes all settings.
SETTINGS: dict[str, tuple[str, ...]] = {
    "biosses": (),
    "blue-relation": ("columns.id", "columns.text_a", "columns.label", "label_map"),
    "boolean-classes": ("columns.id", "columns.text_a", "label_map"),
    "chemprot": ("label_map",),
    "conll": ("entity", "label_map"),
    "covid-stop-reasons": ("label_map",),
    "ddi": ("label_map",),
    "hoc": ("label_map",),
    "i2b2-2010": ("label_map",),
    "jsonl": (
        "columns.id",
        "columns.text_a",
        "columns.text_b",
        "columns.label",
        "label_map",
        "target",
        "marks",
    ),
    "medsts": (),
    "nli4ct": ("label_map",),
    "parquet": (*(f"columns.{role}" for role in ROLES), "label_map", "target", "marks"),
    "pubmedqa": ("label_map",),
    "share-clefe": ("entity",),
    "synthetic": (),
    "trials": ("label_map",),
    "tsv": (
        *("columns.id", "columns.text_a", "columns.text_b", "columns.label"),
        *("label_map", "target", "quoting", "marks"),
    ),
}
OPTIONAL = ("columns", "label_map", "target", "quoting", "entity", "marks")


class DataSpec(Config):
    """Where the splits of a task are and how to read them."""

    labelled: ClassVar[bool] = True

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
        "class",
        description="what the label column holds: a class, several (joined by commas or listed), or a number",
    )
    quoting: Literal["none", "csv"] = Field(
        "none",
        description="of a tsv: none takes a double quote as it stands; csv takes it off quoted cells",
    )
    entity: str | None = Field(None, description="type of B and I tags that name none")
    marks: Marks | None = Field(
        None,
        json_schema_extra={"repeats": True},  # one pattern for both: the mentions go by their place
        description="how a text marks the two mentions of a relation: masks (@GENE$), brackets (<< x >> and "
        "[[ y ]]), tags ([E1] x [/E1] and [E2] y [/E2]), xml (<e1>x</e1> and <e2>y</e2>), or two regular "
        "expressions, whose group, if there is one, is the mention",
    )
    hold_out: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict,
        description="splits that were never published -> their share of the training file's documents",
    )
    document: str | None = Field(
        None,
        description="regular expression whose group finds an example's document in its id; the id if unset",
    )
    root: str | None = Field(None, description="folder of the files, relative to the task file")

    @field_validator("files", "columns", "label_map")
    @classmethod
    def _named(cls, names: dict[str, str]) -> dict[str, str]:
        for key, name in names.items():
            if not key.strip() or not name.strip():
                raise ValueError(f"an empty name ('{key}': '{name}')")
            if "\0" in name:
                raise ValueError(f"'{key}' holds a NUL")
        return names

    @field_validator("columns")
    @classmethod
    def _known_roles(cls, columns: dict[str, str]) -> dict[str, str]:
        return _known("column role", columns, ROLES)

    @field_validator("files", "hold_out")
    @classmethod
    def _known_splits(cls, splits: dict[str, Any]) -> dict[str, Any]:
        return _known("split", splits, SPLITS)

    @field_validator("document")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None and _compiled(pattern).groups != 1:
            raise ValueError(f"'{pattern}' has {_compiled(pattern).groups} groups; one finds the document")
        return pattern

    @field_validator("marks")
    @classmethod
    def _two_mentions(cls, marks: Marks | None) -> Marks | None:
        if isinstance(marks, str) and marks not in MARKS:
            raise ValueError(str(unknown("convention", marks, MARKS)))
        for pattern in mark_patterns(marks) if marks is not None else ():
            if _compiled(pattern).groups > 1:
                raise ValueError(f"'{pattern}' has more than one group; the mention is the only one")
        return marks

    @model_validator(mode="after")
    def _fitting(self) -> "DataSpec":
        twice = sorted(self.files.keys() & self.hold_out.keys())
        if twice:
            raise ValueError(f"{twice[0]} is a file and is held out; choose one")
        if self.hold_out and "train" not in self.files:
            raise ValueError("hold_out takes a share of the training file, and files has no train")
        if self.hold_out and list(self.files.values()).count(self.files["train"]) > 1:
            raise ValueError("hold_out takes a share of the training file, which is another split too")
        if sum(self.hold_out.values()) >= 1:
            raise ValueError("hold_out leaves nothing to train on")
        if "text_b" in self.columns and self.marks is not None:
            raise ValueError("marks are looked for in one text, and columns has text_b")
        usable = SETTINGS.get(self.format)
        strange = [name for name in self._set() if usable is not None and name not in usable]
        if strange:
            has = f"it has {', '.join(usable)}" if usable else "it has no settings of its own"
            raise ValueError(f"format: {self.format} does not use {strange[0]} ({has})")
        return self

    def _set(self) -> list[str]:
        """The settings that are not as they are for everybody."""
        fields = type(self).model_fields
        changed = [name for name in OPTIONAL if getattr(self, name) not in (fields[name].default, {})]
        changed += [f"columns.{role}" for role in self.columns]
        return [name for name in changed if name != "columns"]

    def without_labels(self) -> "DataSpec":
        """The same, for readers to leave the labels alone: they may be absent, or anything."""
        return Unlabelled.model_construct(**dict(self))

    @property
    def named_columns(self) -> dict[str, str]:
        """What is looked for in a row: role -> column."""
        return USUAL | self.columns

    @property
    def needed_columns(self) -> tuple[str, ...]:
        """The columns that every row must have: all that the task file names, a text and a label."""
        columns = {
            role: name for role, name in self.named_columns.items() if role != "id" or role in self.columns
        }
        if not self.labelled:
            columns.pop("label")
        if "words" in columns:
            columns = {
                role: name for role, name in columns.items() if role not in TEXTS or role in self.columns
            }
        return tuple(columns.values())

    def label(self, published: Any, where: str) -> str:
        """The task's name for a published label; an absent one is an InputError."""
        if published is None or published != published or published == "":
            raise InputError(f"{where}: no label")
        if isinstance(published, bool) or not isinstance(published, str | int):
            raise InputError(f"{where}: expected a label, found {type(published).__name__} {published!r:.40}")
        return self.label_map.get(str(published), str(published))

    def number(self, published: Any, where: str) -> float:
        """A published score; InputError if it is none, or not finite."""
        if isinstance(published, bool) or not isinstance(published, str | int | float):
            raise InputError(
                f"{where}: expected a number, found {type(published).__name__} {published!r:.40}"
            )
        try:
            value = float(published)
        except (ValueError, OverflowError):
            raise InputError(f"{where}: {published!r:.40} is no number") from None
        if not math.isfinite(value):
            raise InputError(f"{where}: {published!r:.40} is no score; a score is finite")
        return value


class Unlabelled(DataSpec):
    """A spec whose readers give blank labels: what a model is asked about needs none."""

    labelled: ClassVar[bool] = False

    def label(self, published: Any, where: str) -> str:
        return ""

    def number(self, published: Any, where: str) -> float:
        return 0.0


def pair_or_text(row: Mapping[str, Any], spec: DataSpec, number: int, where: str) -> Example:
    """An example of one or two texts from a row of named columns; its id is `number` if it has none."""
    for name in spec.needed_columns:
        if name not in row:
            raise unknown(f"column in {where}", name, row)
    columns = spec.named_columns
    written = [
        text_of(row[columns[role]], f"{where}: '{columns[role]}'") for role in TEXTS if role in columns
    ]
    label = _label(row[columns["label"]], spec, where) if spec.labelled else ""
    id = row_id(row.get(columns["id"], number), where)
    if spec.marks is None:
        return Example(id, tuple(tuple(text.split()) for text in written), label, where=where)
    try:
        words, spans = marked(written[0], spec.marks)
    except InputError as error:
        raise InputError(f"{where}: {error}{marks_that_fit(written[0])}") from None
    return Example(id, (words,), label, spans, where=where)


def row_id(value: Any, where: str) -> str:
    """The id of a row: a text or a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{where}: expected an id, found {type(value).__name__} {value!r:.40}")
    return str(value)


def _label(published: Any, spec: DataSpec, where: str) -> Label:
    if spec.target == "number":
        return spec.number(published, where)
    if spec.target == "class":
        return spec.label(published, where)
    if isinstance(published, str):
        published = [name.strip() for name in published.split(",")] if published.strip() else []
    if not isinstance(published, list):
        raise InputError(
            f"{where}: expected classes joined by commas, or a list of them, found {published!r:.40}"
        )
    names = tuple(spec.label(name, where) for name in published)
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a class is named twice in {published!r:.60}")
    return names


def _known(what: str, names: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    for name in names:
        if name not in known:
            raise ValueError(str(unknown(what, name, known)))
    return names


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"'{pattern}' is no regular expression ({error})") from None
