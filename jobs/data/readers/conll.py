"""CoNLL columns: a word and its tag in a line, a blank line after each sentence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.formats import DELIMITERS
from microtome.jobs.data.readers.opening import text_lines
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.data.readers.tags import iob2_tags
from microtome.store.errors import InputError

DOCUMENT_MARKS = ("-DOCSTART-", "###MEDLINE:")  # a line of their own, no sentence
USUAL_MARK = re.compile(r"-DOCSTART-|###MEDLINE:\s*(\S*)")
QUOTED_QUOTE = '""""'  # a lone double quote as a CSV writer puts it: the four-column files of BLUE


@dataclass
class Sentence:
    """Words and tags as published, and the place of each."""

    document: str
    line: int
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def read_conll(path: Path, spec: DataSpec) -> list[Example]:
    """Sentences of a .tsv, .iob2 or .conll file, plain or gzipped. The first column is the word and the last
    its tag unless the task's columns say otherwise; they are parted by tabs unless its delimiter does.

    A tag B or I without a type gets the type `entity` of the spec. Without labels, words may stand alone.
    Each sentence knows its document where the file marks them: by `document_mark`, or by the usual lines,
    -DOCSTART- and ###MEDLINE:. A mark that names none is counted; what stands before the first is document 0.
    """
    examples = []
    sentences = list(_sentences(path, spec))
    marked = any(sentence.document for sentence in sentences)
    for number, sentence in enumerate(sentences):
        tags = ("O",) * len(sentence.words)
        if spec.labelled:
            tags = iob2_tags(sentence.tags, spec, sentence.places)
        where = f"{path}:{sentence.line}"
        texts = (tuple(sentence.words),)
        document = sentence.document or ("0" if marked else "")
        examples.append(Example(str(number), texts, tags, document=document, where=where))
    return examples


def _sentences(path: Path, spec: DataSpec) -> Iterator[Sentence]:
    mark = re.compile(spec.document_mark) if spec.document_mark is not None else USUAL_MARK
    documents = 0
    sentence = Sentence("", 0)
    for number, line in text_lines(path):
        begun = mark.match(line)
        if begun is not None or not line.strip():
            if sentence.words:
                yield sentence
            if begun is not None:
                documents += 1
                name = begun[1] if begun.re.groups and begun[1] else str(documents)
                sentence = Sentence(name, 0)
            else:
                sentence = Sentence(sentence.document, 0)
            continue
        if line.startswith(DOCUMENT_MARKS):
            continue
        where = f"{path}:{number}"
        word, tag = _word_and_tag(line, spec, where)
        sentence.line = sentence.line if sentence.words else number
        sentence.words.append('"' if spec.entity is not None and word == QUOTED_QUOTE else word)
        sentence.tags.append(tag)
        sentence.places.append(where)
    if sentence.words:
        yield sentence


def _word_and_tag(line: str, spec: DataSpec, where: str) -> tuple[str, str]:
    delimiter = spec.delimiter or "tab"
    columns = line.split() if delimiter == "space" else line.split(DELIMITERS[delimiter])
    word, tag = (spec.columns.get(role, usual) for role, usual in (("words", 0), ("label", -1)))
    wanted = f"'word<{delimiter.upper()}>tag'"
    if len(columns) < 2 and spec.labelled:
        raise InputError(f"{where}: expected {wanted}, found {_short(line)}")
    for role, column in (("words", word), ("label", tag)):
        if not -len(columns) <= column < len(columns) and (spec.labelled or role == "words"):  # type: ignore[operator]
            raise InputError(f"{where}: columns.{role} is column {column}, but there are {len(columns)}")
    if not columns[word].strip():  # type: ignore[index]
        raise InputError(f"{where}: expected {wanted}, found an empty word")
    return columns[word], columns[tag].strip() if spec.labelled else "O"  # type: ignore[index]


def _short(line: str) -> str:
    return repr(line if len(line) <= 40 else line[:37] + "...")
