"""The `data:` section of a task: which files, in which format, and what their columns mean."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from microtome.jobs.data.examples import SPLITS
from microtome.jobs.data.readers.columns import Columns
from microtome.jobs.data.readers.formats import OPTIONAL, ROLES, SETTINGS
from microtome.jobs.data.readers.marks import MARKS, Marks, mark_patterns
from microtome.store.config import Config
from microtome.store.errors import InputError, unknown

DEV_SHARE = 0.2  # of the training documents, where a task names no dev
Share = Annotated[float, Field(gt=0, lt=1)]


class DataSpec(Config):
    """Where the splits of a task are and how to read them."""

    labelled: ClassVar[bool] = True

    format: str = Field(description="reader, by its name in jobs/data/readers")
    files: dict[str, str] = Field(description="split (train, dev, test) -> file, or folder")
    columns: dict[str, Columns] = Field(
        default_factory=dict,
        description="what a row is made of (id, text_a, text_b, words, label, document) -> the column's "
        "name, or its number from 0, or several names of which a file has one; in xml paths such as title or "
        "note/@id, in json and parquet also context.title for what lies in an object, and context.parts[] "
        "for a list of texts, which are joined by blanks",
    )
    split_columns: dict[str, dict[str, Columns]] = Field(
        default_factory=dict, description="split -> its columns, where they differ from those above"
    )
    label_map: dict[str, str] = Field(
        default_factory=dict,
        description="label as published -> label of the task, where they differ; a type of entities, or "
        "one of several classes, that is mapped to O is left out",
    )
    target: Literal["class", "classes", "number"] = Field(
        "class",
        description="what the label column holds: a class, several (in one text, or listed), or a number",
    )
    classes_joined_by: Literal["comma", "semicolon", "pipe"] = Field(
        "comma", description="what parts several classes in one text"
    )
    decimal: Literal["point", "comma"] = Field("point", description="how a number in a text is written")
    quoting: Literal["none", "csv"] = Field(
        "none",
        description="of a tsv: none takes a double quote as it stands; csv takes it off quoted cells",
    )
    delimiter: Literal["tab", "comma", "semicolon", "pipe", "space"] | None = Field(
        None,
        description="what parts the cells of a row: tab (the default, but comma in csv); space is any run of "
        "blanks, in conll only",
    )
    header: bool = Field(True, description="whether a table begins with the names of its columns")
    encoding: str = Field(
        "utf-8", description="of text files, by its name in Python: latin-1, cp1252, utf-16"
    )
    scheme: Literal["iob2", "iob1", "iobes", "bilou"] = Field(
        "iob2", description="how tags mark where an entity begins and ends"
    )
    entity: str | None = Field(None, description="type of B and I tags that name none")
    document_mark: str | None = Field(
        None,
        description="of conll: regular expression of a line that begins a document and is no word; its "
        "group, if there is one, is the document's name; -DOCSTART- and ###MEDLINE: if unset",
    )
    record: str | None = Field(
        None,
        description="path to the rows: of xml, such as .//note; of json, the keys that lead to the list, "
        "such as data.rows",
    )
    annotations: Literal["entities", "relations"] = Field(
        "entities", description="of brat and bioc: what is read of them"
    )
    pairs: tuple[tuple[str, str], ...] = Field(
        (),
        json_schema_extra={"any_order": True},
        description="of brat and bioc: the types of two mentions that can be related; all if none is given",
    )
    marks: Marks | None = Field(
        None,
        json_schema_extra={"repeats": True},  # one pattern for both: the mentions go by their place
        description="how a text marks the two mentions of a relation: masks (@GENE$), brackets (<< x >> and "
        "[[ y ]]), tags ([E1] x [/E1] and [E2] y [/E2]), xml (<e1>x</e1> and <e2>y</e2>), or two regular "
        "expressions, whose group, if there is one, is the mention",
    )
    hold_out: dict[str, Share] = Field(
        default_factory=dict,
        description="splits that were never published -> their share of the training file's documents; "
        f"a dev that is neither here nor in files is {DEV_SHARE:g} of them",
    )
    unlabelled: tuple[str, ...] = Field(
        (), description="splits without labels: they can be predicted, not scored or probed"
    )
    document: str | None = Field(
        None,
        description="regular expression whose group finds an example's document in its id; if unset, what "
        "the format or a column says of it, else every example is one",
    )
    root: str | None = Field(None, description="folder of the files, relative to the task file")

    @field_validator("files", "columns", "label_map")
    @classmethod
    def _named(cls, names: dict[str, Any]) -> dict[str, Any]:
        for key, value in names.items():
            for name in value if isinstance(value, tuple) else (value,):
                if not key.strip() or (isinstance(name, str) and not name.strip()):
                    raise ValueError(f"an empty name ('{key}': '{name}')")
                if isinstance(name, str) and "\0" in name:
                    raise ValueError(f"'{key}' holds a NUL")
            if isinstance(value, tuple) and not value:
                raise ValueError(f"'{key}' names no column")
        return names

    @field_validator("columns")
    @classmethod
    def _known_roles(cls, columns: dict[str, Columns]) -> dict[str, Columns]:
        return _refuse_unknown("column role", columns, ROLES)

    @field_validator("split_columns")
    @classmethod
    def _known_roles_of_splits(cls, columns: dict[str, dict[str, Columns]]) -> dict[str, dict[str, Columns]]:
        for roles in columns.values():
            _refuse_unknown("column role", roles, ROLES)
        return columns

    @field_validator("files", "hold_out", "split_columns")
    @classmethod
    def _known_splits(cls, splits: dict[str, Any]) -> dict[str, Any]:
        return _refuse_unknown("split", splits, SPLITS)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        try:
            "".encode(name)
        except (LookupError, ValueError):
            raise ValueError(f"no text encoding is called '{name}'") from None
        return name

    @field_validator("document_mark")
    @classmethod
    def _one_group_at_most(cls, pattern: str | None) -> str | None:
        if pattern is not None and _compiled(pattern).groups > 1:
            raise ValueError(f"'{pattern}' has more than one group; the name of the document is the only one")
        return pattern

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
        self._refuse_unlabelled()
        if "document" in self.columns and self.document is not None:
            raise ValueError("document is looked for in the id, and columns has document; choose one")
        if "text_b" in self.columns and self.marks is not None:
            raise ValueError("marks are looked for in one text, and columns has text_b")
        usable = SETTINGS.get(self.format)
        strange = [name for name in self._set() if usable is not None and name not in usable]
        if strange:
            has = f"it has {', '.join(usable)}" if usable else "it has no settings of its own"
            raise ValueError(f"format: {self.format} does not use {strange[0]} ({has})")
        self._refuse_strange_tables()
        return self

    def _refuse_unlabelled(self) -> None:
        for split in self.unlabelled:
            if split not in self.files:
                raise ValueError(f"unlabelled: files has no {split}")
            if split != "test":
                raise ValueError(f"unlabelled: {split} needs labels; only test may be without")

    def _refuse_strange_tables(self) -> None:
        if self.format == "conll":
            for role, column in self.columns.items():
                if not isinstance(column, int):
                    raise ValueError(
                        f"columns.{role}: a conll file has no names of columns; give the number, from 0"
                    )
        elif self.delimiter == "space":
            raise ValueError("delimiter: space parts the columns of conll only")
        if self.format == "xml" and self.record is None:
            raise ValueError("record: xml needs the path to its rows, such as .//note")
        if not self.header:
            named = [role for role, column in self.columns.items() if not isinstance(column, int)]
            if named or not self.columns:
                role = named[0] if named else "text_a"
                raise ValueError(f"columns.{role}: without a header a column is its number, from 0")

    def _set(self) -> list[str]:
        """The settings that are not as they are for everybody."""
        fields = type(self).model_fields
        changed = [name for name in OPTIONAL if getattr(self, name) not in (fields[name].default, {})]
        changed += [f"columns.{role}" for role in self.columns]
        return [name for name in changed if name != "columns"]

    def without_labels(self) -> "DataSpec":
        """The same, for readers to leave the labels alone: they may be absent, or anything."""
        return Unlabelled.model_construct(**dict(self))

    def for_split(self, split: str) -> "DataSpec":
        """The same with the columns of one split."""
        if split not in self.split_columns:
            return self
        return self.model_copy(update={"columns": self.columns | self.split_columns[split]})

    @property
    def shares(self) -> dict[str, float]:
        """The splits that are held out of the training file, and which share of its documents each is."""
        return self.hold_out | ({"dev": DEV_SHARE} if self.implies_dev else {})

    @property
    def implies_dev(self) -> bool:
        """Whether dev is a part of the training file without the task saying so."""
        return "dev" not in self.files and "dev" not in self.hold_out and "train" in self.files

    def label(self, published: Any, where: str) -> str:
        """The task's name for a published label; an absent one is an InputError."""
        if published is None or published != published or published == "":
            raise InputError(f"{where}: no label")
        if isinstance(published, float) and published.is_integer():
            published = int(published)  # what tables make of whole numbers in a column that has gaps
        if isinstance(published, bool) or not isinstance(published, str | int):
            raise InputError(f"{where}: expected a label, found {type(published).__name__} {published!r:.40}")
        return self.label_map.get(str(published), str(published))

    def number(self, published: Any, where: str) -> float:
        """A published score; InputError if it is none, or not finite."""
        if isinstance(published, bool) or not isinstance(published, str | int | float):
            raise InputError(
                f"{where}: expected a number, found {type(published).__name__} {published!r:.40}"
            )
        if self.decimal == "comma" and isinstance(published, str):
            published = published.replace(",", ".")
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


def _refuse_unknown(what: str, names: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    for name in names:
        if name not in known:
            raise ValueError(str(unknown(what, name, known)))
    return names


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"'{pattern}' is no regular expression ({error})") from None
