"""Documents with mentions and relations by character offsets: sentences with tags, or pairs of mentions.

What cannot become an example is counted and warned of: mentions in several parts, mentions inside others, and
relations that no sentence holds.
"""

import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.mentions import Parts, inside, mask_pair
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

NO_RELATION = "false"
# A sentence ends at a line end, or at punctuation, perhaps with closing quotes or brackets, before a capital
# letter or a digit; not after a dotted abbreviation (U.S., i.v.), and never inside a mention.
SENTENCE_END = re.compile(r"""\s*\n\s*|(?<!\.\w)[.?!]["')\]]*\s+(?=["'(\[]*[A-Z0-9])""")
WORD = re.compile(r"[^\W_]+|[^\w\s]|_")  # a run of letters and digits, or one punctuation mark
Span = tuple[int, int]

log = logging.getLogger(__name__)


class Mention(NamedTuple):
    parts: Parts  # in text order
    kind: str
    id: str

    @property
    def span(self) -> Span:
        return self.parts[0][0], self.parts[-1][1]


class Relation(NamedTuple):
    kind: str
    mentions: frozenset[str]  # the ids of the two


@dataclass
class StandoffDocument:
    """`ends` are places at which a sentence ends, whatever the text there."""

    name: str
    text: str
    where: str
    mentions: dict[str, Mention] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)
    ends: set[int] = field(default_factory=set)

    def add(self, mention: Mention, where: str, surface: str | None = None) -> None:
        """A mention, whose text must be the one that its offsets give."""
        if mention.id in self.mentions:
            raise InputError(f"{where}: the mention '{mention.id}' is there already")
        if not mention.parts or not inside(mention.parts, self.text):
            raise InputError(f"{where}: {mention.parts} is no part of a text of {len(self.text)} characters")
        at_offsets = " ".join(self.text[start:end] for start, end in mention.parts)
        if surface is not None and surface.split() != at_offsets.split():
            raise InputError(
                f"{where}: expected {surface!r:.60} at its offsets, where the text is {at_offsets!r:.60}"
            )
        self.mentions[mention.id] = mention

    def sentences(self) -> list[Span]:
        """Start and end of each."""
        ends = {match.end() for match in SENTENCE_END.finditer(self.text)} | self.ends
        spans = [mention.span for mention in self.mentions.values()]
        outside = [end for end in ends if not any(start < end < last for start, last in spans)]
        return list(itertools.pairwise(sorted({0, *outside, len(self.text)})))


def standoff_examples(documents: Iterable[StandoffDocument], spec: DataSpec, path: Path) -> list[Example]:
    """The examples of documents: sentences, or pairs of mentions in one sentence."""
    lost: Counter[str] = Counter()
    make = _pairs if spec.annotations == "relations" else _tagged
    examples = [example for document in documents for example in make(document, spec, lost)]
    for what, count in lost.items():
        log.warning("%s: %d %s", path, count, what)
    return examples


def _tagged(document: StandoffDocument, spec: DataSpec, lost: Counter[str]) -> Iterator[Example]:
    """An example per sentence, `<document>.<number>`. A mention covers every word that it touches; of those
    that overlap, the one that starts first stays, the longer if they start together."""
    whole: list[Mention] = []
    for mention in sorted(document.mentions.values(), key=lambda m: (m.span[0], -m.span[1])):
        if len(mention.parts) > 1:
            lost["mentions in several parts are left out"] += 1
        elif whole and mention.span[0] < whole[-1].span[1]:
            lost["mentions that overlap another are left out"] += 1
        else:
            whole.append(mention)
    borders = {place for mention in whole for place in mention.span}
    number = 0
    for start, end in document.sentences():
        places = list(_words(document.text, start, end, borders))
        if not places:
            continue
        tags = ["O"] * len(places)
        for mention in whole:
            covered = [i for i, (a, b) in enumerate(places) if a < mention.span[1] and mention.span[0] < b]
            kind = spec.label_map.get(mention.kind, mention.kind)
            for i in covered if kind != "O" else ():
                tags[i] = f"{'B' if i == covered[0] else 'I'}-{kind}"
        texts = (tuple(document.text[a:b] for a, b in places),)
        name = f"{document.name}.{number}"
        yield Example(name, texts, tuple(tags), document=document.name, where=document.where)
        number += 1


def _words(text: str, start: int, end: int, borders: set[int]) -> Iterator[Span]:
    """Words of a sentence, cut where a mention begins or ends."""
    for match in WORD.finditer(text, start, end):
        first, last = match.span()
        cuts = [first, *sorted(place for place in borders if first < place < last), last]
        yield from itertools.pairwise(cuts)


def _pairs(document: StandoffDocument, spec: DataSpec, lost: Counter[str]) -> Iterator[Example]:
    """An example per two mentions of a sentence that can be related, `<document>.<mention>.<mention>`; the
    mentions are masked by their types. A pair with several relations has the first in the file."""
    related: dict[frozenset[str], str] = {}
    for relation in document.relations:
        related.setdefault(relation.mentions, relation.kind)
    relatable = {frozenset(pair) for pair in spec.pairs}
    reached: set[frozenset[str]] = set()
    for start, end in document.sentences():
        members = sorted(m for m in document.mentions.values() if start <= m.span[0] < end)
        for first, second in itertools.combinations(members, 2):
            if relatable and frozenset((first.kind, second.kind)) not in relatable:
                continue
            ids = frozenset((first.id, second.id))
            reached.add(ids)
            label = spec.label(related.get(ids, NO_RELATION), document.where)
            parts = [[(a - start, b - start) for a, b in mention.parts] for mention in (first, second)]
            masks = f"@{first.kind}$", f"@{second.kind}$"
            both = f"@{first.kind}-{second.kind}$"
            words, spans = mask_pair(document.text[start:end], (parts[0], parts[1]), masks, both)
            name = f"{document.name}.{first.id}.{second.id}"
            yield Example(name, (words,), label, spans, document=document.name, where=document.where)
    if spec.labelled and related.keys() - reached:
        lost["relations of mentions in two sentences, or of types not in pairs, are left out"] += len(
            related.keys() - reached
        )
