"""Sentence templates with slots in braces, and how they are filled:

{Gene} {Chemical} {Disease}        an entity of that type, of any form
{Gene.short} {Other.short} ...     an abbreviation such as `TKR`, of a gene, disease or questionnaire
{Gene.in} {Chemical.in}            a name such as `velorin`, shared by proteins and chemicals
{Gene.word} {Other.word}           an everyday word that also names genes
{organ} {group} ...                a word from VOCABULARY
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from microtome.jobs.demo.names import EVERYDAY, ORGANS, TYPES, Names, Words, ending_in, pick, short

Tagged = tuple[Words, Words]  # words, and an IOB2 tag for each

VOCABULARY: dict[str, list[str]] = {
    "adjective": "old small quiet broken green heavy empty wooden new narrow warm early".split(),
    "animal": ["dog", "horse", "cat", "goat", "crow", "hen", "donkey"],
    "appears": ["appears", "seems", "remains", "was", "thought"],
    "day": ["Monday", "Tuesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "down": ["lower", "reduced", "suppressed"],
    "food": ["bread", "soup", "apples", "cheese", "rice", "honey", "onions"],
    "group": ["patients", "children", "women", "adults", "volunteers", "men"],
    "measure": ["expression", "activity", "levels", "binding", "phosphorylation"],
    "number": ["12", "20", "24", "36", "40", "48", "60", "84", "120", "150", "200", "320"],
    "organ": ORGANS,
    "person": "farmer teacher doctor neighbour sister driver nurse baker child brother".split(),
    "place": "market river station kitchen village clinic garden school field bridge".split(),
    "regulates": ["activates", "inhibits", "binds", "represses", "phosphorylates", "stabilises"],
    "season": ["spring", "summer", "autumn", "winter"],
    "short": ["score", "scale", "questionnaire", "index", "committee"],
    "thing": "table lantern door basket ladder letter clock boat mirror coat candle saddle".split(),
    "treats": ["treats", "relieves", "prevents", "improves"],
    "verb": ["carried", "painted", "found", "lost", "repaired", "sold", "washed", "moved", "hid", "borrowed"],
    "when": ["yesterday", "today", "later", "again", "slowly", "alone", "together"],
}

_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


def fill(template: str, names: Names, rng: np.random.Generator) -> Tagged:
    """The words and IOB2 tags of a template whose slots are filled."""
    words: list[str] = []
    tags: list[str] = []
    for token in template.split():
        slot = _SLOT.fullmatch(token)
        kind, form = slot.groups() if slot else ("", None)
        filler = _filler(kind, form, names, rng) if slot else (token,)
        words += filler
        tags += [f"B-{kind}", *[f"I-{kind}"] * (len(filler) - 1)] if kind in TYPES else ["O"] * len(filler)
    words[0] = words[0] if tags[0] != "O" else words[0][0].upper() + words[0][1:]
    return tuple(words), tuple(tags)


def _filler(kind: str, form: str | None, names: Names, rng: np.random.Generator) -> Words:
    """The words that fill the slot `{kind.form}`."""
    if form == "short":
        return (short(rng),)
    if form == "in":
        return (ending_in(rng),)
    if form == "word":
        return (pick(rng, EVERYDAY),)
    return names.draw(kind) if kind in TYPES else (pick(rng, VOCABULARY[kind]),)


def prose(sentences: Iterable[Sequence[str]]) -> str:
    """Sentences as one string, punctuation joined to the word before it."""
    text = " ".join(" ".join(words) for words in sentences)
    return re.sub(r" ([.,)])", r"\1", text).replace("( ", "(")
