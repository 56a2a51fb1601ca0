"""Where the attention of a head goes: its spread, its reach, and the shares of some kinds of tokens.

Dims: h head, q query, k key. Every pattern is a mean over the query rows of one example's map, where a row
counts by its mass: the share of its attention that goes to the tokens that are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from microtome.analysis.attention.divergence import normalised_entropy
from microtome.store import ActivationCache

Pattern = Literal[
    "entropy",
    "distance",
    "to_special",
    "to_previous",
    "to_self",
    "to_next",
    "across_segments",
    "to_entities",
    "to_sink",
]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)


@dataclass(frozen=True)
class Tokens:
    """The tokens of one attention map; a token is a query and a key.

    positions  int  [t]          place in the example
    segments   int8 [t]          0 first text, 1 second text
    special    bool [t]          tokens the tokenizer added
    entities   bool [t] or None  tokens of words whose label is not O; None where words have no labels
    causal     bool              whether keys after the query are invisible
    """

    positions: np.ndarray
    segments: np.ndarray
    special: np.ndarray
    entities: np.ndarray | None
    causal: bool

    def only(self, selected: slice | np.ndarray) -> Self:
        """The facts of some tokens, `selected` being their places."""
        entities = None if self.entities is None else self.entities[selected]
        return type(self)(
            self.positions[selected], self.segments[selected], self.special[selected], entities, self.causal
        )


class TokenFacts:
    """The facts of every example of a cache; `causal` is whether keys after the query are invisible."""

    def __init__(self, cache: ActivationCache, *, causal: bool) -> None:
        self._offsets = cache.offsets
        self._segments = cache.segment_ids
        self._special = cache.special_mask
        self._entities = _entities(cache)
        self._causal = causal

    def example(self, number: int) -> Tokens:
        """All tokens of one example, special ones included."""
        window = slice(self._offsets[number], self._offsets[number + 1])
        entities = None if self._entities is None else self._entities[window]
        special = self._special[window]
        return Tokens(np.arange(len(special)), self._segments[window], special, entities, self._causal)


class ExamplePatterns:
    """Patterns of the maps of one example, those of `names` that its tokens have.

    entropy          over the log of how many keys are visible, 0 to 1 (see normalised_entropy)
    distance         mean |query - key| in tokens, weighted by attention
    to_previous      share of attention to the token before; a query without one has 0
    to_self          share to the query itself
    to_next          share to the token after; a query without one has 0
    across_segments  share to the other text, of examples with two texts
    to_entities      share to the tokens of words whose label is not O, of word-labelled caches

    to_special and to_sink need every token: see share_of_special and share_of_sink.
    """

    def __init__(self, names: Sequence[str], tokens: Tokens) -> None:
        size = len(tokens.positions)
        self._entropy = "entropy" in names
        self._visible = np.tril(np.ones((size, size), bool)) if tokens.causal else None
        weights = {name: _WEIGHTS[name](tokens) for name in names if name in _WEIGHTS}
        present = {name: weight for name, weight in weights.items() if weight is not None}
        self._names = list(present)
        self._weights = np.empty((len(present), size, size), np.float32)
        for place, weight in zip(self._weights, present.values(), strict=True):
            place[:] = weight

    def measure(self, attention_hqk: np.ndarray, mass_hq: np.ndarray) -> dict[str, np.ndarray]:
        """Float [heads] of each pattern, NaN for a head without a row.

        `attention_hqk` is float32; its rows sum to one, or are zero where `mass_hq` is.
        """
        values = {}
        if self._entropy:
            entropy = normalised_entropy(attention_hqk, self._visible)
            values["entropy"] = mean_over_rows(entropy, mass_hq)
        flat = (attention_hqk * mass_hq[..., None]).reshape(len(attention_hqk), -1)
        sums = self._weights.reshape(len(self._names), flat.shape[1]) @ flat.T
        return values | dict(zip(self._names, _over_mass(sums, mass_hq), strict=True))


def share_of_special(attention_hqk: np.ndarray, special: np.ndarray) -> np.ndarray:
    """Share of attention to the tokens that the tokenizer added, over all rows of a whole map: [heads]. What
    goes to a sink is part of the whole."""
    return attention_hqk[..., special].sum((1, 2), dtype=np.float32) / len(special)


def share_of_sink(attention_hqk: np.ndarray) -> np.ndarray:
    """Share of attention that goes to no token, over all rows of a whole map: [heads]. In models with sinks
    a learned weight takes it; of other models it is what rounding leaves."""
    return np.maximum(1 - attention_hqk.sum(-1, dtype=np.float32).mean(-1), 0)


def mean_over_rows(values_hq: np.ndarray, mass_hq: np.ndarray) -> np.ndarray:
    """Mean over rows, each counting by its mass, NaN where none has any: [heads, queries] -> [heads]."""
    return _over_mass((values_hq * mass_hq).sum(-1), mass_hq)


def _over_mass(sums: np.ndarray, mass_hq: np.ndarray) -> np.ndarray:
    mass = mass_hq.sum(-1)
    return np.where(mass > 0, sums / np.where(mass > 0, mass, 1), np.nan)


def _distance(tokens: Tokens) -> np.ndarray:
    return np.abs(_ahead(tokens))


def _ahead(tokens: Tokens) -> np.ndarray:
    """How far each key lies ahead of each query, in tokens: int [q, k]."""
    return tokens.positions[None, :] - tokens.positions[:, None]


def _across(tokens: Tokens) -> np.ndarray | None:
    texts = tokens.segments[~tokens.special]
    if not len(texts) or (texts == texts[0]).all():
        return None
    return (tokens.segments[:, None] != tokens.segments[None, :]) & ~tokens.special


# The weight of each pair in a pattern, to be broadcast to [q, k]; None where the example does not have it.
_WEIGHTS: dict[str, Callable[[Tokens], np.ndarray | None]] = {
    "distance": _distance,
    "to_previous": lambda tokens: _ahead(tokens) == -1,
    "to_self": lambda tokens: _ahead(tokens) == 0,
    "to_next": lambda tokens: _ahead(tokens) == 1,
    "across_segments": _across,
    "to_entities": lambda tokens: tokens.entities,
}


def _entities(cache: ActivationCache) -> np.ndarray | None:
    """Whether each token belongs to a word whose label is not O, bool [tokens]; None without such labels."""
    if cache.description.unit != "word":
        return None
    inside = np.array([name != "O" for name in cache.description.classes])[cache.labels]
    first = np.repeat(cache.word_offsets[:-1], np.diff(cache.offsets))
    in_entity = np.zeros(cache.tokens, bool)
    own = ~cache.special_mask
    in_entity[own] = inside[(first + cache.word_ids)[own]]
    return in_entity
