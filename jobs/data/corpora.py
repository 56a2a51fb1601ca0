"""Text corpora for adapting a language model: documents, in order, one at a time."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Literal

from pydantic import Field, field_validator, model_validator

from microtome.jobs.data import documents
from microtome.jobs.data.cleaning import cleaner
from microtome.jobs.data.code_version import code_version
from microtome.jobs.data.readers.opening import reading
from microtome.jobs.demo.corpus import biomedical_text, general_text
from microtome.store.artifacts.digests import Digests
from microtome.store.config import Config, Seed
from microtome.store.errors import Absence, AbsentError, InputError, MissingError
from microtome.store.files.paths import place, place_from, there
from microtome.store.identity import digest

# What each format reads besides what every format has: its settings, the first of them needed.
SETTINGS = {
    "text": ("path", "files", "separator", "fallback_encoding"),
    "jsonl": ("path", "files", "column", "columns"),
    "csv": ("path", "files", "column", "columns"),
    "xml-qa": ("path", "files"),
    "pubmed-tsv": ("path", "files"),
    "registry": ("path", "files"),
    "hub": ("hub", "revision", "config", "split", "column", "columns"),
    "synthetic": ("topic", "seed"),
}
COMMON = ("format", "documents", "cleaning", "min_words")
SUFFIXES = {
    "text": ".txt",
    "jsonl": ".jsonl",
    "csv": ".csv",
    "xml-qa": ".xml",
    "pubmed-tsv": ".tsv",
    "registry": ".json",
}
SYNTHETIC_DOCUMENTS = 500
COMMIT = re.compile("[0-9a-f]{40}")


class CorpusSpec(Config):
    """Where the documents come from, and what is done to them."""

    format: Literal["text", "jsonl", "csv", "xml-qa", "pubmed-tsv", "registry", "hub", "synthetic"] = Field(
        description="text: .txt files; xml-qa: questions and answers as in MedQuAD; pubmed-tsv: id, title and"
        " abstract per line; registry: JSON of ClinicalTrials.gov; hub: a dataset; synthetic: generated"
    )
    path: str | None = Field(
        None, description="file or folder: absolute, or below the working directory or MICROTOME_DATA"
    )
    files: str | None = Field(
        None, description="pattern of the files below the folder; all of the format's if unset"
    )
    separator: Literal["none", "line", "blank_line"] = Field(
        "none", description="what parts the documents in a .txt file; none: a file is one document"
    )
    fallback_encoding: Literal["latin-1", "cp1252"] | None = Field(
        None, description="of the .txt files that are not UTF-8; refused if unset"
    )
    column: str | None = Field(None, description="column, or key, of the text")
    columns: tuple[str, ...] = Field((), description="or several, joined by a blank line")
    hub: str | None = Field(None, description="id of a dataset on the hub, or a folder in its layout")
    revision: str | None = Field(
        None, description="of the dataset; with a whole commit, planning need not read the corpus"
    )
    config: str | None = Field(None, description="configuration of the dataset")
    split: str = Field("train", description="of the dataset")
    topic: Literal["general", "biomedical"] = Field("general", description="of synthetic documents")
    seed: Seed = Field(0, description="of synthetic documents")
    documents: int | None = Field(None, ge=1, description="at most so many; all if unset")
    cleaning: tuple[str, ...] = Field(
        (),
        json_schema_extra={"repeats": True},
        description="rules of jobs/data/cleaning.py, in this order",
    )
    min_words: int = Field(1, ge=1, description="documents of fewer words after cleaning are left out")

    @field_validator("files")
    @classmethod
    def _inside(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        path = PurePath(pattern)
        if not pattern.strip() or "\0" in pattern or path == PurePath():
            raise ValueError(f"{pattern!r} is no pattern of files")
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"'{pattern}' leaves the folder of the corpus; set path to the folder that is meant"
            )
        if any("**" in part and part != "**" for part in path.parts):
            raise ValueError(f"'{pattern}': ** stands alone between slashes")
        return pattern

    @model_validator(mode="after")
    def _complete(self) -> "CorpusSpec":
        usable = SETTINGS[self.format]
        for name, field in type(self).model_fields.items():
            if name not in (*COMMON, *usable) and getattr(self, name) != field.default:
                raise ValueError(f"format: {self.format} has no {name} (it has {', '.join(usable)})")
        if getattr(self, usable[0]) is None:
            raise ValueError(f"format: {self.format} needs a {usable[0]}")
        if "column" in usable and bool(self.column) == bool(self.columns):
            raise ValueError(f"format: {self.format} needs either a column or columns")
        try:
            cleaner(self.cleaning)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that make a document."""
        return self.columns or (str(self.column),)

    def how_to_get(self) -> str:
        """What to do about a corpus that is not here, in one line."""
        if self.hub is not None:
            return f"download dataset {self.hub} where the hub can be reached, and set hub to its folder"
        where = str(self.path) if place(str(self.path)).is_absolute() else f"$MICROTOME_DATA/{self.path}"
        return f"put the {self.format} corpus at {where}, or change its path"


@dataclass(frozen=True)
class Corpus:
    """A corpus, found. `absence` says why it cannot be read, where only its identity is known."""

    spec: CorpusSpec
    identity: str
    absence: Absence | None = None


def find_corpus(spec: CorpusSpec, digests: Digests | None = None) -> Corpus:
    """The corpus and its identity; AbsentError if it is not here. `digests` are what a store remembers."""
    try:
        return Corpus(spec, corpus_identity(spec, digests))
    except AbsentError:
        raise
    except MissingError as error:  # of the hub
        raise AbsentError(_absence(spec, str(error))) from None


def read_documents(spec: CorpusSpec) -> Iterator[str]:
    """The documents in order, cleaned; what has no text is left out.

    Nothing is held but the document at hand, except where one file is one document or one JSON value.
    InputError if a file cannot be read as its format, or if there is no document at all; MissingError if
    the file, the folder or the dataset is not there.
    """
    clean = cleaner(spec.cleaning)
    cleaned = (clean(text) for text in _texts(spec))
    kept = (document for document in cleaned if len(document.split()) >= spec.min_words)
    found = False
    for document in islice(kept, spec.documents):
        found = True
        yield document
    if not found:
        words = f"{spec.min_words} or more words after cleaning"
        raise InputError(f"{spec.path or spec.hub or spec.format}: no {spec.format} document of {words}")


def corpus_identity(spec: CorpusSpec, digests: Digests | None = None) -> str:
    """The digest of the documents of a corpus, as they are now: everything is read, unless the digest of the
    same files is remembered. Only of a dataset at a commit of the hub the commit and what is done to it stand
    for the documents, and nothing is read."""
    if spec.format == "hub" and COMMIT.fullmatch(spec.revision or ""):
        return digest({"corpus": spec.identity()})
    if spec.format in ("hub", "synthetic") or digests is None:
        return corpus_digest(read_documents(spec))
    what = {"documents": spec.all_settings(), "code": code_version()}
    path, began = _place(spec), time.time_ns()
    identity = digests.recall(what, path)
    if identity is None:
        identity = corpus_digest(read_documents(spec))
        digests.remember(what, identity, path, began=began)
    return identity


def corpus_files(spec: CorpusSpec) -> tuple[Path, list[Path]]:
    """The folder of a corpus on disk and its files; of one that is a file, the folder that it lies in."""
    place = _place(spec)
    return (place if place.is_dir() else place.parent), _files(spec)


def corpus_digest(documents: Iterable[str]) -> str:
    """sha256 over the documents and their lengths, 64 hex digits; nothing is held in memory."""
    total = hashlib.sha256()
    for document in documents:
        text = document.encode("utf-8", "surrogatepass")
        total.update(len(text).to_bytes(8, "big"))
        total.update(text)
    return total.hexdigest()


def is_held_out(document: str, share: float, seed: int) -> bool:
    """Whether a document is among the `share` that is never trained on.

    A hash of seed and text decides, so equal documents fall on one side, a corpus that grows keeps its
    sides, and nothing is held in memory. The share is met on average, not exactly.
    """
    text = f"{seed}\n{document}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") < share * 2**64


def _texts(spec: CorpusSpec) -> Iterator[str]:
    if spec.format == "synthetic":
        make = general_text if spec.topic == "general" else biomedical_text
        yield from make(spec.documents or SYNTHETIC_DOCUMENTS, spec.seed)
    elif spec.format == "hub":
        columns = spec.text_columns
        yield from documents.hub_rows(str(spec.hub), spec.config, spec.revision, spec.split, columns)
    else:
        for path in _files(spec):
            yield from FILES[spec.format](path, spec)


def _files(spec: CorpusSpec) -> list[Path]:
    place = _place(spec)
    if not place.is_dir():
        if spec.files is not None:
            raise InputError(
                f"{place}: is no folder, so there is nothing for files, '{spec.files}', to choose from"
            )
        return [place]
    pattern = spec.files or f"*{SUFFIXES[spec.format]}"
    with reading(place):
        found = sorted(path for path in place.rglob(pattern) if path.is_file() or path.is_symlink())
    if not found:
        raise InputError(f"{place}: no {pattern} files")
    inside = Path(os.path.realpath(place))
    for path in found:
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(inside):
            raise InputError(f"{path}: is a link that leaves the folder of the corpus, to {real}")
        if not path.exists():
            raise InputError(f"{path}: is a link to nothing")
    return [path for path in found if path.is_file()]


def _place(spec: CorpusSpec) -> Path:
    asked = place(str(spec.path))
    data = place_from("MICROTOME_DATA")
    places = [asked] if not data or asked.is_absolute() else [asked, data / asked]
    for candidate in places:
        with reading(candidate):
            if there(candidate) and candidate.exists():
                return candidate
    unset = "" if data or asked.is_absolute() else " (MICROTOME_DATA is not set)"
    raise AbsentError(_absence(spec, f"no corpus at {' or '.join(map(str, places))}{unset}"))


def _absence(spec: CorpusSpec, why: str) -> Absence:
    return Absence("corpus", str(spec.hub or spec.path), why, spec.how_to_get())


FILES: dict[str, Callable[[Path, CorpusSpec], Iterator[str]]] = {
    "text": lambda path, spec: documents.plain_text(path, spec.separator, spec.fallback_encoding),
    "jsonl": lambda path, spec: documents.json_lines(path, spec.text_columns),
    "csv": lambda path, spec: documents.csv_table(path, spec.text_columns),
    "xml-qa": lambda path, spec: documents.questions(path),
    "pubmed-tsv": lambda path, spec: documents.abstracts(path),
    "registry": lambda path, spec: documents.trials(path),
}
