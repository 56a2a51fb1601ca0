"""Texts in which the two mentions of a relation are masked by their types.

A mention is one or several parts (start, end) of a text, in characters, end exclusive. Its mask stands at the
first part; the other parts are dropped, so that "short- and long-acting nitrates" gives each of its two
mentions a mask. Mentions whose first parts overlap share one mask. A mask is a word of its own.
"""

from collections.abc import Sequence

from microtome.jobs.data.readers.marks import Spans

Parts = Sequence[tuple[int, int]]


def mask_pair(
    text: str, mentions: tuple[Parts, Parts], masks: tuple[str, str], both: str
) -> tuple[tuple[str, ...], Spans]:
    """The words, and the words of the two mentions in text order. `both` is the mask of an overlap."""
    (start, end), (other_start, other_end) = mentions[0][0], mentions[1][0]
    if start < other_end and other_start < end:
        places = [(min(start, other_start), both)]
    else:
        places = sorted(zip((start, other_start), masks, strict=True))
    hidden = {place for parts in mentions for part in parts for place in range(*part)}
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    done = 0
    for place, mask in places:
        words += _visible(text, done, place, hidden)
        spans.append((len(words), len(words) + 1))
        words.append(mask)
        done = place
    words += _visible(text, done, len(text), hidden)
    return tuple(words), (spans[0], spans[-1])


def inside(parts: Parts, text: str) -> bool:
    """Whether the parts are parts of the text."""
    return all(0 <= start < end <= len(text) for start, end in parts)


def _visible(text: str, start: int, end: int, hidden: set[int]) -> list[str]:
    return "".join(text[place] for place in range(start, end) if place not in hidden).split()
