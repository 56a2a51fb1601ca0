"""CoNLL columns with IOB2 tags: a word first and its tag last in a line, a blank line after each sentence."""

import gzip
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from jobs.data.examples import Example
from jobs.data.readers.spec import DataSpec, reading
from store.errors import InputError

DOCUMENT_MARKS = ("-DOCSTART-", "###MEDLINE:")  # a line of their own, no sentence
QUOTED_QUOTE = '""""'  # a lone double quote as a CSV writer puts it: the four-column files of BLUE


def read_conll(path: Path, spec: DataSpec) -> list[Example]:
    """Sentences of a .tsv, .iob2 or .conll file, plain or gzipped. Columns are split at tabs.

    A tag B or I without a type gets the type `entity` of the spec.
    """
    examples: list[Example] = []
    with reading(path), _open(path) as lines:
        for words, tags in _sentences(path, lines, spec):
            examples.append(Example(str(len(examples)), (tuple(words),), tuple(tags)))
    return examples


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline="\n")
    return path.open(encoding="utf-8", newline="\n")


def _sentences(path: Path, lines: Iterable[str], spec: DataSpec) -> Iterator[tuple[list[str], list[str]]]:
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")
        if not line.strip():
            if words:
                yield words, tags
            words, tags = [], []
            continue
        if line.startswith(DOCUMENT_MARKS):
            continue
        columns = line.split("\t")
        if len(columns) < 2:
            raise InputError(f"{path}:{number}: expected 'word<TAB>tag', found {_short(line)}")
        tag = _tag(columns[-1].strip(), tags[-1] if tags else "O", spec, f"{path}:{number}")
        words.append('"' if spec.entity is not None and columns[0] == QUOTED_QUOTE else columns[0])
        tags.append(tag)
    if words:
        yield words, tags


def _tag(tag: str, previous: str, spec: DataSpec, where: str) -> str:
    """The tag, checked: O, B-type, or I-type that continues an entity of the same type."""
    prefix, _, kind = tag.partition("-")
    if tag == "O":
        return tag
    untyped = tag in ("B", "I") and spec.entity is not None
    if untyped:
        kind = str(spec.entity)
    if prefix not in ("B", "I") or not kind:
        raise InputError(f"{where}: '{tag}' is no IOB2 tag (O, B-type or I-type)")
    kind = spec.label_map.get(kind, kind)
    if prefix == "I" and previous not in (f"B-{kind}", f"I-{kind}"):
        if untyped:  # how BLUE tags a later part of a split mention: here a mention of its own
            return f"B-{kind}"
        raise InputError(f"{where}: '{tag}' continues no entity (the tag before is '{previous}'); not IOB2")
    return f"{prefix}-{kind}"


def _short(line: str) -> str:
    return repr(line if len(line) <= 40 else line[:37] + "...")
