"""ChemProt as published for BioCreative VI: tables of abstracts, entities and relations."""

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.mentions import inside, mask_pair
from microtome.jobs.data.readers.opening import text_lines
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

CHEMICAL, GENES = "CHEMICAL", ("GENE-Y", "GENE-N")
MASKS, BOTH = ("@CHEMICAL$", "@GENE$"), "@CHEM-GENE$"
NO_RELATION = "false"
LONGEST_OFFSETS = 18  # digits of both; more are of no text

# A sentence ends at punctuation, perhaps with closing quotes or brackets, before a capital letter or a digit;
# not after a dotted abbreviation (U.S., i.v.), and never inside a mention.
SENTENCE_END = re.compile(r"""(?<!\.\w)[.?!]["')\]]*\s+(?=["'(\[]*[A-Z0-9])""")


class Entity(NamedTuple):
    start: int
    end: int
    id: str
    kind: str


@dataclass
class Abstract:
    """Offsets index title, one character, abstract. `gold` holds the evaluated groups of each pair."""

    pmid: str
    text: str
    title_end: int
    where: str
    entities: dict[str, Entity] = field(default_factory=dict)
    gold: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def sentences(self) -> list[tuple[int, int]]:
        """Start and end of each; the title ends one."""
        ends = {self.title_end, *(match.end() for match in SENTENCE_END.finditer(self.text))}
        mentions = self.entities.values()
        outside = [end for end in ends if not any(m.start < end < m.end for m in mentions)]
        cuts = [0, *sorted(outside), len(self.text)]
        return list(itertools.pairwise(cuts))


class GoldCounts(NamedTuple):
    """Gold relations, those of a pair that already has one, and pairs that no sentence holds."""

    gold: int
    merged: int
    crossing: int


def read_chemprot(path: Path, spec: DataSpec) -> list[Example]:
    """`path` is the `*_abstracts*.tsv`; the entities and relations are its siblings.

    An example for each chemical and gene of a sentence, `<pmid>.<chemical>.<gene>`. A pair of several groups
    has the first in the file as its label and the others as further labels. Masks are those of BLUE's tables:
    @CHEMICAL$ and @GENE$, or @CHEM-GENE$ where the two overlap.
    """
    return pairs_of(_abstracts(path, spec.labelled), spec)


def pairs_of(abstracts: Iterable[Abstract], spec: DataSpec) -> list[Example]:
    """The examples of abstracts, in order."""
    return [
        _example(abstract, sentence, chemical, gene, spec)
        for abstract in abstracts
        for sentence, chemical, gene in _pairs(abstract)
    ]


def count_gold(path: Path) -> GoldCounts:
    """What becomes of the gold relations: those that are neither merged nor crossing are examples."""
    gold = merged = crossing = 0
    for abstract in _abstracts(path):
        within = {(chemical.id, gene.id) for _, chemical, gene in _pairs(abstract)}
        gold += sum(len(groups) for groups in abstract.gold.values())
        merged += sum(len(groups) - 1 for groups in abstract.gold.values())
        crossing += len(abstract.gold.keys() - within)
    return GoldCounts(gold, merged, crossing)


def _pairs(abstract: Abstract) -> Iterator[tuple[tuple[int, int], Entity, Entity]]:
    """(sentence, chemical, gene) in text order."""
    sentences = abstract.sentences()
    starts = [start for start, _ in sentences]
    members: list[list[Entity]] = [[] for _ in sentences]
    for entity in sorted(abstract.entities.values()):
        members[bisect.bisect_right(starts, entity.start) - 1].append(entity)
    for sentence, entities in zip(sentences, members, strict=True):
        for chemical in entities:
            if chemical.kind == CHEMICAL:
                yield from ((sentence, chemical, gene) for gene in entities if gene.kind in GENES)


def _example(
    abstract: Abstract, sentence: tuple[int, int], chemical: Entity, gene: Entity, spec: DataSpec
) -> Example:
    start, end = sentence
    parts = [(chemical.start - start, chemical.end - start)], [(gene.start - start, gene.end - start)]
    words, spans = mask_pair(abstract.text[start:end], parts, MASKS, BOTH)
    name = f"{abstract.pmid}.{chemical.id}.{gene.id}"
    groups = abstract.gold.get((chemical.id, gene.id), [NO_RELATION])
    label, *further = (spec.label(group, abstract.where) for group in groups)
    return Example(
        name,
        (words,),
        label,
        spans,
        document=abstract.pmid,
        further_labels=tuple(str(group) for group in further),
        where=abstract.where,
    )


def _abstracts(path: Path, labelled: bool = True) -> list[Abstract]:
    if "_abstracts" not in path.name:
        raise InputError(f"{path}: expected a file named *_abstracts*.tsv")
    abstracts: dict[str, Abstract] = {}
    for where, (pmid, title, body) in _rows(path, 3):
        if pmid in abstracts:
            raise InputError(f"{where}: the abstract '{pmid}' is there already ({abstracts[pmid].where})")
        abstracts[pmid] = Abstract(pmid, f"{title} {body}", len(title), where)
    for where, (pmid, *cells) in _rows(_sibling(path, "_entities"), 6):
        abstract = _abstract_of(abstracts, pmid, where)
        add_entity(abstract, cells, where)
    relations = _rows(_sibling(path, "_relations"), 6) if labelled else ()
    for where, (pmid, group, evaluated, _, *arguments) in relations:
        if evaluated.strip() not in ("Y", "N"):
            raise InputError(f"{where}: expected Y or N, found '{evaluated}'")
        if evaluated.strip() == "Y":
            add_relation(_abstract_of(abstracts, pmid, where), group, arguments, where)
    return list(abstracts.values())


def add_entity(abstract: Abstract, cells: Sequence[str], where: str) -> None:
    """Note a mention: id, type, start, end and text. InputError if it does not fit the abstract."""
    name, kind, start, end, text = cells
    if kind not in (CHEMICAL, *GENES):
        raise InputError(f"{where}: expected CHEMICAL, GENE-Y or GENE-N, found '{kind}'")
    if not (start.isdecimal() and end.isdecimal() and len(start + end) <= LONGEST_OFFSETS):
        raise InputError(f"{where}: expected two offsets, found '{start}' and '{end}'")
    entity = Entity(int(start), int(end), name, kind)
    at_offsets = abstract.text[entity.start : entity.end]
    if not inside([(entity.start, entity.end)], abstract.text) or at_offsets != text:
        raise InputError(f"{where}: expected '{text}' at {start}-{end}, found '{at_offsets}'")
    if entity.id in abstract.entities:
        raise InputError(f"{where}: the abstract {abstract.pmid} has an entity '{entity.id}' already")
    abstract.entities[entity.id] = entity


def add_relation(abstract: Abstract, group: str, arguments: Sequence[str], where: str) -> None:
    """Note an evaluated relation; the arguments are `Arg1:T1` and `Arg2:T2`, of the chemical and the gene."""
    groups = abstract.gold.setdefault(_arguments(abstract, arguments, where), [])
    if group not in groups:  # one group may stand for several relation types
        groups.append(group)


def _arguments(abstract: Abstract, arguments: Sequence[str], where: str) -> tuple[str, str]:
    """The ids of the chemical and of the gene."""
    names = [argument.partition(":")[2] for argument in arguments]
    kinds = [abstract.entities[name].kind if name in abstract.entities else "" for name in names]
    if kinds[0] != CHEMICAL or kinds[1] not in GENES:
        raise InputError(f"{where}: expected a chemical and a gene, found {' and '.join(arguments)}")
    return names[0], names[1]


def _abstract_of(abstracts: dict[str, Abstract], pmid: str, where: str) -> Abstract:
    if pmid not in abstracts:
        raise InputError(f"{where}: no abstract '{pmid}'")
    return abstracts[pmid]


def _sibling(path: Path, kind: str) -> Path:
    return path.with_name(path.name.replace("_abstracts", kind))


def _rows(path: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    for number, line in text_lines(path):
        cells = line.split("\t")
        if cells == [""]:
            continue
        if len(cells) != columns:
            raise InputError(f"{path}:{number}: expected {columns} columns, found {len(cells)}")
        yield f"{path}:{number}", cells
