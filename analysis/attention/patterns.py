"""Where the attention of a head goes: its spread, its reach, and the shares of some kinds of tokens.

Dims: h head, q query, k key. Every pattern is a mean over the query rows of one example's map, where a row
counts by its mass: the share of its attention that goes to the tokens that are compared. Maps are arrays of
numpy, from a cache, or of torch, from a model (see analysis/numerics/arrays.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from microtome.analysis.attention.divergence import entropy, entropy_scale
from microtome.analysis.numerics.arrays import Array, float32, row_sums
from microtome.store import ActivationCache
from microtome.store.cache.examples import Examples
from microtome.store.cache.token_rows import words_of_tokens

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
ENTROPY_OF_ALL = "entropy_of_all_keys"  # entropy that counts every key as visible, in causal models too


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
    """The facts of every example of a cache: `unit` is what its labels are of, `classes` are their names, and
    `causal` is whether keys after the query are invisible."""

    def __init__(self, examples: Examples, unit: str, classes: Sequence[str], *, causal: bool) -> None:
        self._examples = examples
        self._entities = _entities(examples, classes) if unit == "word" else None
        self._causal = causal

    @classmethod
    def of(cls, cache: ActivationCache, *, causal: bool) -> Self:
        """Those of the examples of a cache."""
        return cls(cache.example_data, cache.unit, cache.classes, causal=causal)

    def example(self, number: int) -> Tokens:
        """All tokens of one example, special ones included."""
        window = slice(*self._examples.offsets[number : number + 2])
        entities = None if self._entities is None else self._entities[window]
        special = self._examples.special_mask[window]
        segments = self._examples.segment_ids[window]
        return Tokens(np.arange(len(special)), segments, special, entities, self._causal)


class ExamplePatterns:
    """Patterns of the maps of one example, those of `names` that its tokens have.

    entropy          over the log of how many keys are visible, 0 to 1 (see normalised_entropy)
    distance         mean |query - key| in tokens, weighted by attention
    to_previous      share of attention to the token before; a query without one has 0
    to_self          share to the query itself
    to_next          share to the token after; a query without one has 0
    across_segments  share to the other text, of examples with two texts
    to_entities      share to the tokens of words whose label is not O, of word-labelled caches

    to_special and to_sink need every token: see share_of_special and share_of_sink. `to_library` makes a
    numpy array one of the library, and on the device, that the maps are of.
    """

    def __init__(
        self,
        names: Sequence[str],
        tokens: Tokens,
        to_library: Callable[[np.ndarray], Array] = lambda values: values,
    ) -> None:
        size = len(tokens.positions)
        every_key = np.full(size, size)
        visible = {
            "entropy": np.arange(1, size + 1) if tokens.causal else every_key,
            ENTROPY_OF_ALL: every_key,
        }
        self._entropy_scales = {
            name: to_library(entropy_scale(visible[name]).astype(np.float32))
            for name in names
            if name in visible
        }
        present = {name: weight for name in names if (weight := _pair_weights(name, tokens)) is not None}
        self._names = list(present)
        weights = np.empty((len(present), size, size), np.float32)
        for place, weight in zip(weights, present.values(), strict=True):
            place[:] = weight
        self._weights = to_library(weights.reshape(len(present), size * size))

    def measure(self, attention_hqk: Array, mass_hq: Array) -> dict[str, Array]:
        """Float [heads] of each pattern, NaN for a head without a row.

        `attention_hqk` is float32; its rows sum to one, or are zero where `mass_hq` is.
        """
        values = {}
        if self._entropy_scales:
            in_nats = entropy(attention_hqk)
            for name, scale in self._entropy_scales.items():
                values[name] = mean_over_rows(in_nats * scale, mass_hq)
        flat = (attention_hqk * mass_hq[..., None]).reshape(len(attention_hqk), -1)
        sums = self._weights @ flat.T
        return values | {name: _over_mass(sums[number], mass_hq) for number, name in enumerate(self._names)}


def share_of_special(attention_hqk: Array, special_tokens: Array) -> Array:
    """Share of attention to the tokens that the tokenizer added, `special_tokens` being their places, over
    all rows of a whole map: [heads]. What goes to a sink is part of the whole."""
    return float32(attention_hqk[..., special_tokens]).sum(-1).sum(-1) / attention_hqk.shape[-1]


def share_of_sink(attention_hqk: Array) -> Array:
    """Share of attention that goes to no token, over all rows of a whole map: [heads]. In models with sinks
    a learned weight takes it; of other models it is what rounding leaves."""
    return (1 - row_sums(float32(attention_hqk)).mean(-1)).clip(min=0)


def mean_over_rows(values_hq: Array, mass_hq: Array) -> Array:
    """Mean over rows, each counting by its mass, NaN where none has any: [heads, queries] -> [heads]."""
    return _over_mass((values_hq * mass_hq).sum(-1), mass_hq)


def _over_mass(sums: Array, mass_hq: Array) -> Array:
    with np.errstate(invalid="ignore"):  # 0 / 0 where no row has any mass
        return sums / mass_hq.sum(-1)


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


_WEIGHTS: dict[str, Callable[[Tokens], np.ndarray | None]] = {
    "distance": _distance,
    "to_previous": lambda tokens: _ahead(tokens) == -1,
    "to_self": lambda tokens: _ahead(tokens) == 0,
    "to_next": lambda tokens: _ahead(tokens) == 1,
    "across_segments": _across,
    "to_entities": lambda tokens: tokens.entities,
}


def _pair_weights(name: str, tokens: Tokens) -> np.ndarray | None:
    """The weight of each pair in a pattern, to be broadcast to [q, k]; None where the example, or the pattern
    altogether, has none."""
    return _WEIGHTS[name](tokens) if name in _WEIGHTS else None


def _entities(examples: Examples, classes: Sequence[str]) -> np.ndarray:
    """Whether each token belongs to a word whose label is not O, bool [tokens]."""
    inside = np.array([name != "O" for name in classes])[examples.labels]
    tokens, words = words_of_tokens(examples)
    in_entity = np.zeros(len(examples.special_mask), bool)
    in_entity[tokens] = inside[words]
    return in_entity
