"""ShARe/CLEF eHealth 2013, task 1, as released: clinical notes, and disorders by character offsets."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.opening import text_lines, whole_text
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

WORD = re.compile(r"[^\W_]+|[^\w\s]|_")  # a run of letters and digits, or one punctuation mark
ENTITY = "Disorder"
LONGEST_OFFSET = 10  # digits; more are of no note


@dataclass(frozen=True)
class Mention:
    """One line of an annotation file: more than one span if other words stand between its parts."""

    where: str
    spans: tuple[tuple[int, int], ...]


def read_share_clefe(path: Path, spec: DataSpec) -> list[Example]:
    """An example per line with words of every `text/*.txt`, in the order of file names.

    Split mentions cannot be written as IOB2 tags and are left out (`split_mentions` counts them). A mention
    that runs over a line break is one in each line. Of overlapping mentions the one that starts first
    stays, the longer if they start together.
    """
    entity = spec.entity or ENTITY
    mentions = _mentions(path / "annotations") if spec.labelled else {}
    examples = []
    for note in _files(path / "text"):
        text = whole_text(note)  # line ends as they are: the offsets count them
        spans = _contiguous(mentions.pop(_note(note.name), []), len(text))
        offset = 0
        for number, line in enumerate(text.splitlines(keepends=True)):
            words = [(m.start() + offset, m.end() + offset, m.group()) for m in WORD.finditer(line)]
            offset += len(line)
            if words:
                tags = _tags([(start, end) for start, end, _ in words], spans, entity)
                texts = (tuple(word for _, _, word in words),)
                id, where = f"{note.stem}_{number}", f"{note}:{number + 1}"
                examples.append(Example(id, texts, tags, document=note.stem, where=where))
    for left in mentions.values():
        raise InputError(f"{left[0].where}: there is no such note in {path / 'text'}")
    return examples


def split_mentions(path: Path) -> int:
    """How many mentions of a folder are split, and so are not in its examples."""
    return sum(len(m.spans) > 1 for found in _mentions(path / "annotations").values() for m in found)


def _mentions(folder: Path) -> dict[str, list[Mention]]:
    """Note -> its mentions, from lines `file||type||CUI||start||end[||start||end...]`."""
    found: dict[str, list[Mention]] = defaultdict(list)
    for path in _files(folder):
        for number, line in text_lines(path):
            if line.strip():
                where = f"{path}:{number}"
                fields = line.strip().split("||")
                found[_note(fields[0])].append(Mention(where, _spans(fields, where)))
    return found


def _spans(fields: list[str], where: str) -> tuple[tuple[int, int], ...]:
    offsets = [
        int(field) for field in fields[3:] if field.strip().isdecimal() and len(field) < LONGEST_OFFSET
    ]
    spans = tuple(zip(offsets[::2], offsets[1::2], strict=False))
    complete = len(offsets) == len(fields) - 3 >= 2 and len(offsets) % 2 == 0
    if not complete or any(start >= end for start, end in spans):
        raise InputError(f"{where}: expected 'file||type||CUI||start||end', found '{'||'.join(fields)}'")
    return spans


def _contiguous(mentions: list[Mention], length: int) -> list[tuple[int, int]]:
    for mention in mentions:
        if max(end for _, end in mention.spans) > length:
            raise InputError(f"{mention.where}: ends beyond its note of {length} characters")
    spans = (mention.spans[0] for mention in mentions if len(mention.spans) == 1)
    return sorted(spans, key=lambda span: (span[0], -span[1]))


def _tags(words: list[tuple[int, int]], mentions: list[tuple[int, int]], entity: str) -> tuple[str, ...]:
    """IOB2 tags of one line. A mention covers every word that it touches."""
    tags = ["O"] * len(words)
    for start, end in mentions:
        covered = [i for i, word in enumerate(words) if word[0] < end and start < word[1]]
        if all(tags[i] == "O" for i in covered):
            for i in covered:
                tags[i] = f"{'B' if i == covered[0] else 'I'}-{entity}"
    return tuple(tags)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = sorted(folder.glob("*.txt"))
    if not found:
        raise InputError(f"{folder}: no *.txt in this folder")
    return found


def _note(name: str) -> str:
    """The name that a note and its annotations share: annotation files add suffixes of their own."""
    return name.partition(".")[0]
