"""Invented names of genes, chemicals and diseases, built from syllables and typical affixes.

A second draw holds names that the first has not seen; some, the frequent ones, every draw may hold.
"""

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np

Words = tuple[str, ...]
Item = TypeVar("Item")

ONSETS = "b br c d dr f fl g gr h k l m n p pr qu r s st t tr v z".split()
VOWELS = ["a", "e", "i", "o", "u", "ae", "io"]
CODAS = ["b", "d", "g", "l", "m", "n", "p", "r", "s", "t", "v", "x", "z"]
SHORT_LETTERS = "ABCDEFGHKLMNPRSTVX"
EVERYDAY = "anchor basket bridge candle feather garden ladder lantern mirror pepper saddle thimble".split()

GENE_NOUNS = ["receptor", "receptor alpha", "kinase 2", "growth factor", "promoter", "binding protein"]

ORGANS = ["liver", "kidney", "heart", "lung", "brain", "skin", "bone", "colon"]

SHARED_NAMES = 80
SHARED_RATE = 0.6
DOCUMENT_RATE = 0.6

TYPES = ("Gene", "Chemical", "Disease")


class Names:
    """Names for the slots of one sentence, or of one document if `remember`.

    Some come from a list shared by every draw, in which few are frequent; the others are new each time.
    """

    def __init__(self, rng: np.random.Generator, remember: bool = False) -> None:
        self._rng = rng
        self._remember = remember
        self._seen: dict[str, Words] = {}

    def draw(self, kind: str) -> Words:
        """The words of a name of a type of TYPES."""
        if kind in self._seen and self._rng.random() < DOCUMENT_RATE:
            return self._seen[kind]
        if self._rng.random() < SHARED_RATE:
            rank = int(SHARED_NAMES * self._rng.random() ** 2)
            name = shared_names(kind)[rank]
        else:
            name = invent(kind, self._rng)
        if self._remember:
            self._seen[kind] = name
        return name


@cache
def shared_names(kind: str) -> tuple[Words, ...]:
    """The names of a type that every draw may hold, the frequent ones first."""
    rng = np.random.default_rng([TYPES.index(kind), 5])
    return tuple(invent(kind, rng) for _ in range(SHARED_NAMES))


def pick(rng: np.random.Generator, choices: Sequence[Item]) -> Item:
    return choices[int(rng.integers(len(choices)))]


def stem(rng: np.random.Generator, syllables: int = 2) -> str:
    """A pronounceable lower-case stem that ends in a consonant."""
    parts = [pick(rng, ONSETS) + pick(rng, VOWELS) for _ in range(syllables)]
    return "".join(parts) + pick(rng, CODAS)


def short(rng: np.random.Generator) -> str:
    return "".join(pick(rng, SHORT_LETTERS) for _ in range(3))


def ending_in(rng: np.random.Generator) -> str:
    return stem(rng) + "in"


def invent(kind: str, rng: np.random.Generator) -> Words:
    """A new name of a type of TYPES, one to four words."""
    return pick(rng, _FORMS[kind])(rng)


def _gene_symbol(rng: np.random.Generator) -> Words:
    return (f"{short(rng)}{rng.integers(1, 30)}",)


def _gene_enzyme(rng: np.random.Generator) -> Words:
    return (stem(rng) + pick(rng, ["ase", "kinase"]),)


def _gene_described(rng: np.random.Generator) -> Words:
    head = pick(rng, [ending_in(rng), _gene_symbol(rng)[0], stem(rng) + "ine"])
    return (head, *pick(rng, GENE_NOUNS).split())


def _chemical(rng: np.random.Generator) -> Words:
    return (stem(rng) + pick(rng, ["olide", "azine", "afen", "idone", "amet", "urate"]),)


def _chemical_salt(rng: np.random.Generator) -> Words:
    return (*_chemical(rng), pick(rng, ["sodium", "hydrochloride", "phosphate"]))


def _chemical_acid(rng: np.random.Generator) -> Words:
    return (stem(rng) + "ic", "acid")


def _disease(rng: np.random.Generator) -> Words:
    return (stem(rng) + pick(rng, ["itis", "osis", "emia", "oma", "opathy"]),)


def _disease_described(rng: np.random.Generator) -> Words:
    return (*pick(rng, ["chronic", "acute", "severe", "type 2", "familial"]).split(), *_disease(rng))


def _disease_eponym(rng: np.random.Generator) -> Words:
    return (stem(rng).capitalize(), pick(rng, ["syndrome", "disease"]))


def _disease_of_organ(rng: np.random.Generator) -> Words:
    return (*_disease(rng), "of", "the", pick(rng, ORGANS))


_FORMS = {
    "Gene": [_gene_symbol, _gene_symbol, _gene_enzyme, _gene_described, _gene_described],
    "Chemical": [_chemical, _chemical, _chemical_salt, _chemical_acid],
    "Disease": [_disease, _disease, _disease_described, _disease_eponym, _disease_of_organ],
}
