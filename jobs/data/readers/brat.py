"""BRAT standoff: a folder of texts (.txt), each with its annotations beside it (.ann)."""

import re
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.opening import text_lines, whole_text
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.data.readers.standoff import Mention, Relation, StandoffDocument, standoff_examples
from microtome.store.errors import InputError

MENTION = re.compile(r"(T\S+)\t(\S+) (\d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*)(?:\t(.*))?")
RELATION = re.compile(r"R\S+\t(\S+)\s+\w+:(T\S+)\s+\w+:(T\S+)\s*")


def read_brat(path: Path, spec: DataSpec) -> list[Example]:
    """Sentences with tags of all texts below a folder, or pairs of mentions with `annotations: relations`.

    Events, attributes, equivalences and notes are passed over.
    """
    if not path.is_dir():
        raise InputError(f"{path}: expected a folder of .txt and .ann files")
    files = sorted(path.rglob("*.txt"))
    if not files:
        raise InputError(f"{path}: no *.txt in this folder")
    return standoff_examples([_document(file, path, spec) for file in files], spec, path)


def _document(file: Path, folder: Path, spec: DataSpec) -> StandoffDocument:
    name = file.relative_to(folder).with_suffix("").as_posix()
    document = StandoffDocument(name, whole_text(file), str(file))
    annotations = file.with_suffix(".ann")
    # The mentions of a pair are known without its relation; tags are the labels themselves.
    if spec.labelled or (spec.annotations == "relations" and annotations.exists()):
        _annotate(document, annotations)
    return document


def _annotate(document: StandoffDocument, file: Path) -> None:
    arguments: list[tuple[str, str, str, str]] = []
    for number, line in text_lines(file):
        where = f"{file}:{number}"
        if line.startswith("T"):
            match = MENTION.fullmatch(line)
            if match is None:
                raise InputError(f"{where}: expected 'T1<TAB>Type start end<TAB>text', found {line[:60]!r}")
            id, kind, offsets, surface = match.groups()
            parts = [(int(a), int(b)) for a, b in (part.split(" ") for part in offsets.split(";"))]
            document.add(Mention(_merged(parts), kind, id), where, surface)
        elif line.startswith("R"):
            match = RELATION.fullmatch(line)
            if match is None:
                raise InputError(f"{where}: expected 'R1<TAB>Type Arg1:T1 Arg2:T2', found {line[:60]!r}")
            arguments.append((where, match[1], match[2], match[3]))
    for where, kind, first, second in arguments:
        for id in (first, second):
            if id not in document.mentions:
                raise InputError(f"{where}: no mention '{id}' in {file.name}")
        document.relations.append(Relation(kind, frozenset((first, second))))


def _merged(parts: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The parts in text order; BRAT also parts a mention at a line end, where the parts are one apart."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if merged and start - merged[-1][1] <= 1:
            merged[-1] = merged[-1][0], end
        else:
            merged.append((start, end))
    return tuple(merged)
