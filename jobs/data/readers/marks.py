"""Texts in which the two mentions of a relation are marked, by masks or by what stands around them."""

import itertools
import re
from collections.abc import Sequence

from microtome.store.errors import InputError

Spans = tuple[tuple[int, int], ...]
Marks = str | tuple[str, str]  # a convention of MARKS, or two regular expressions

MASK = re.compile(r"@[A-Za-z]+(?:-[A-Za-z]+)?\$")
# The patterns of the two mentions; where they are one and the same, the mentions stand in text order.
MARKS: dict[str, tuple[str, str]] = {
    "masks": (MASK.pattern, MASK.pattern),  # BLUE: @GENE$ and @DISEASE$, or one mask if they overlap
    "brackets": (r"<<\s*(.+?)\s*>>", r"\[\[\s*(.+?)\s*\]\]"),  # SciBERT: << x >> and [[ y ]]
    "tags": (r"\[E1\]\s*(.+?)\s*\[/E1\]", r"\[E2\]\s*(.+?)\s*\[/E2\]"),  # Baldini Soares et al. 2019
    "xml": (r"<e1>\s*(.+?)\s*</e1>", r"<e2>\s*(.+?)\s*</e2>"),  # SemEval-2010 task 8
}


def mark_patterns(marks: Marks) -> tuple[str, str]:
    """The regular expressions of a convention, or the two that are given."""
    return MARKS[marks] if isinstance(marks, str) else marks


def marked(text: str, marks: Marks) -> tuple[tuple[str, ...], Spans]:
    """The words, and the words of the two mentions: the first pattern's, then the second's, or in text order
    where the patterns are one. A mark is parted from its neighbours: "(@DRUG$)" becomes "( @DRUG$ )".

    InputError if a mention is not marked exactly once, or has no words.
    """
    found = _mentions(text, mark_patterns(marks))
    places = sorted(
        {0, len(text), *(place for match in found for place in (*match.span(), *_mention(match)))}
    )
    words: list[str] = []
    before: dict[int, int] = {0: 0}  # place in the text -> words before it
    for start, end in itertools.pairwise(places):
        words += text[start:end].split()
        before[end] = len(words)
    spans = [tuple(before[place] for place in _mention(match)) for match in found]
    if any(start == end for start, end in spans):
        raise InputError("a marked mention has no words")
    return tuple(words), (spans[0], spans[-1])  # type: ignore[return-value]


def marked_by_any(text: str) -> tuple[tuple[str, ...], Spans]:
    """The words and the mentions of `marked`, by the first convention that fits; no mentions if none does."""
    for marks in MARKS:
        try:
            return marked(text, marks)
        except InputError:
            continue
    return tuple(MASK.sub(r" \g<0> ", text).split()), ()


def marks_that_fit(text: str) -> str:
    """A hint: the convention by which the mentions of a text are marked, if there is one."""
    for marks in MARKS:
        try:
            marked(text, marks)
        except InputError:
            continue
        return f"; did you mean marks: {marks}?"
    return ""


def _mentions(text: str, patterns: tuple[str, str]) -> Sequence[re.Match[str]]:
    one, other = ([*re.finditer(pattern, text, re.DOTALL)] for pattern in patterns)
    if patterns[0] == patterns[1]:
        if len(one) not in (1, 2):
            raise InputError(f"expected two masks, or one of two that overlap, found {len(one)}")
        return one
    for pattern, found in zip(patterns, (one, other), strict=True):
        if len(found) != 1:
            raise InputError(f"expected one mention marked as {pattern}, found {len(found)}")
    return one + other


def _mention(match: re.Match[str]) -> tuple[int, int]:
    return match.span(1) if match.re.groups and match[1] is not None else match.span()
