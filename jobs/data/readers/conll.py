"""CoNLL columns with IOB2 tags: a word first and its tag last in a line, a blank line after each sentence."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.opening import text_lines
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

DOCUMENT_MARKS = ("-DOCSTART-", "###MEDLINE:")  # a line of their own, no sentence
QUOTED_QUOTE = '""""'  # a lone double quote as a CSV writer puts it: the four-column files of BLUE


def read_conll(path: Path, spec: DataSpec) -> list[Example]:
    """Sentences of a .tsv, .iob2 or .conll file, plain or gzipped. Columns are split at tabs.

    A tag B or I without a type gets the type `entity` of the spec. Without labels, words may stand alone.
    """
    return [
        Example(str(number), (tuple(words),), tuple(tags), where=f"{path}:{line}")
        for number, (line, words, tags) in enumerate(_sentences(path, text_lines(path), spec))
    ]


def _sentences(
    path: Path, lines: Iterable[tuple[int, str]], spec: DataSpec
) -> Iterator[tuple[int, list[str], list[str]]]:
    """(its first line, words, tags) of each sentence."""
    first = 0
    words: list[str] = []
    tags: list[str] = []
    for number, line in lines:
        if not line.strip():
            if words:
                yield first, words, tags
            words, tags = [], []
            continue
        if line.startswith(DOCUMENT_MARKS):
            continue
        columns = line.split("\t")
        if len(columns) < 2 and spec.labelled:
            raise InputError(f"{path}:{number}: expected 'word<TAB>tag', found {_short(line)}")
        if not columns[0].strip():
            raise InputError(f"{path}:{number}: expected 'word<TAB>tag', found an empty word")
        first = first if words else number
        tag = (
            "O"
            if not spec.labelled
            else _tag(columns[-1].strip(), tags[-1] if tags else "O", spec, f"{path}:{number}")
        )
        words.append('"' if spec.entity is not None and columns[0] == QUOTED_QUOTE else columns[0])
        tags.append(tag)
    if words:
        yield first, words, tags


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
