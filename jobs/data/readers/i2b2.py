"""i2b2/VA 2010 as published: records, their concepts, and the relations of these."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.mentions import mask_pair
from microtome.jobs.data.readers.opening import text_lines
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError, unknown

PLACE = r'c="(?:.*)" (\d{1,9}):(\d{1,9}) (\d{1,9}):(\d{1,9})'
CONCEPT = re.compile(PLACE + r'\|\|t="(problem|test|treatment)"')
RELATION = re.compile(PLACE + r'\|\|r="(\w+)"\|\|' + PLACE)
TREATMENT, TEST, PROBLEMS = {"treatment", "problem"}, {"test", "problem"}, {"problem"}
RELATES = {  # relation -> the types of its concepts
    "PIP": PROBLEMS,
    "TeCP": TEST,
    "TeRP": TEST,
    "TrAP": TREATMENT,
    "TrCP": TREATMENT,
    "TrIP": TREATMENT,
    "TrNAP": TREATMENT,
    "TrWP": TREATMENT,
}
NO_RELATION = "false"

Place = tuple[int, int, int, int]  # line from 1 and token from 0 of the first and of the last word


class Concept(NamedTuple):
    place: Place
    kind: str
    number: int  # its line in the file of concepts


def read_i2b2(path: Path, spec: DataSpec) -> list[Example]:
    """`path` holds txt, concept and rel, or folders that do. An example for each two concepts of a line whose
    types can relate: `<record>.<concept>.<concept>`, numbered as in the file of concepts."""
    folders = [path] if (path / "txt").is_dir() else sorted(found.parent for found in path.glob("*/txt"))
    files = [file for folder in folders for file in sorted((folder / "txt").glob("*.txt"))]
    if not files:
        raise InputError(f"{path}: no txt/*.txt in this folder")
    return [example for file in files for example in _record(file, spec)]


def _record(file: Path, spec: DataSpec) -> Iterator[Example]:
    folder, name = file.parent.parent, file.stem
    lines = [line.split() for _, line in text_lines(file)]
    concepts = _concepts(folder / "concept" / f"{name}.con", lines)
    gold = _relations(folder / "rel" / f"{name}.rel", concepts) if spec.labelled else {}
    inside = [concept for concept in concepts if concept.place[0] == concept.place[2]]
    for first, second in itertools.combinations(inside, 2):
        if first.place[0] != second.place[0] or {first.kind, second.kind} not in RELATES.values():
            continue
        words = lines[first.place[0] - 1]
        masks = f"@{first.kind}$", f"@{second.kind}$"
        parts = [_characters(words, first)], [_characters(words, second)]
        masked, spans = mask_pair(" ".join(words), parts, masks, f"@{first.kind}-{second.kind}$")
        id = f"{name}.{first.number}.{second.number}"
        where = f"{file}:{first.place[0]}"
        label = gold.get((first, second), NO_RELATION)
        yield Example(id, (masked,), spec.label(label, where), spans, document=name, where=where)


def _concepts(file: Path, lines: list[list[str]]) -> list[Concept]:
    """In text order; one that is listed twice counts once."""
    concepts: dict[tuple[Place, str], Concept] = {}
    for number, line in text_lines(file):
        if not line.strip():
            continue
        found = CONCEPT.fullmatch(line.strip())
        if found is None:
            raise InputError(f'{file}:{number}: expected c="text" L:T L:T||t="type", found {line[:60]!r}')
        place = _place(found.groups()[:4])
        for row, token in (place[:2], place[2:]):
            if not 1 <= row <= len(lines) or token >= len(lines[row - 1]):
                raise InputError(f"{file}:{number}: the record has no word {row}:{token}")
        if place[:2] > place[2:]:
            raise InputError(f"{file}:{number}: ends before it starts")
        concepts.setdefault((place, found[5]), Concept(place, found[5], number))
    return sorted(concepts.values())


def _relations(file: Path, concepts: list[Concept]) -> dict[tuple[Concept, Concept], str]:
    """(first, second concept in text order) -> relation; the first one that the file has."""
    gold: dict[tuple[Concept, Concept], str] = {}
    for number, line in text_lines(file):
        if not line.strip():
            continue
        found = RELATION.fullmatch(line.strip())
        if found is None:
            wanted = 'c="text" L:T L:T||r="relation"||c="text" L:T L:T'
            raise InputError(f"{file}:{number}: expected {wanted}, found {line[:60]!r}")
        label = found[5]
        if label not in RELATES:
            raise unknown(f"relation at {file}:{number}", label, RELATES)
        places = _place(found.groups()[:4]), _place(found.groups()[5:])
        one, other = ([c for c in concepts if c.place == place] for place in places)
        pairs = [sorted(pair) for pair in itertools.product(one, other)]
        fitting = [pair for pair in pairs if {concept.kind for concept in pair} == RELATES[label]]
        if not fitting:
            kinds = " and ".join(sorted(RELATES[label], reverse=True))
            raise InputError(f"{file}:{number}: {label} of what are no concepts ({kinds})")
        first, second = fitting[0]
        gold.setdefault((first, second), label)
    return gold


def _place(numbers: tuple[str, ...]) -> Place:
    row, token, last_row, last_token = map(int, numbers)
    return row, token, last_row, last_token


def _characters(words: list[str], concept: Concept) -> tuple[int, int]:
    """Where the concept's words are in the words joined by spaces."""
    _, first, _, last = concept.place
    start = len(" ".join([*words[:first], ""]))
    return start, start + len(" ".join(words[first : last + 1]))
