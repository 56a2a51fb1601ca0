"""From a cache to what a probe sees: X, y. Subwords are pooled to words, tokens to texts and mentions.

Everything here can change without extracting again.
"""

from typing import Literal

import numpy as np

from analysis.metrics import merge
from store import ActivationCache
from store.errors import InputError

Pooling = Literal["mean", "first", "last"]
LONG_RUN = 32  # tokens; words are shorter, segments longer


class Units:
    """What a probe is asked about in one cache: words, texts, pairs of segments, pairs of mentions.

    y        int64 [units] class numbers, int64 [units, classes] zeros and ones, or float32 [units]
    classes  names of the classes
    """

    y: np.ndarray
    classes: tuple[str, ...]

    def features(self, hidden_td: np.ndarray) -> np.ndarray:
        """float32 [units, features] from one layer's packed hidden states [tokens, dim]."""
        raise NotImplementedError


class WordUnits(Units):
    """Words that the model saw; B- and I- tags are merged into their type, as in Bonfigli et al. (2024)."""

    def __init__(self, cache: ActivationCache, pooling: Pooling) -> None:
        words = _word_numbers(cache)
        self._tokens = np.flatnonzero(words >= 0)
        seen, self._starts, self._counts = np.unique(
            words[self._tokens], return_index=True, return_counts=True
        )
        self._pooling = pooling
        names = cache.manifest["outputs"]["cache"]["classes"]
        merged = [merge(name) for name in names]
        self.classes = tuple(dict.fromkeys(merged))
        number = np.array([self.classes.index(name) for name in merged])
        self.y = number[cache.labels[seen]]

    def features(self, hidden_td: np.ndarray) -> np.ndarray:
        return _pool(hidden_td[self._tokens], self._starts, self._counts, self._pooling)


class SlotUnits(Units):
    """Examples, each with one or more slots; a slot is the pooled run of some of its tokens, and an empty
    one is zeros. Features are the slots side by side."""

    slots: int

    def __init__(self, cache: ActivationCache, pooling: Pooling) -> None:
        self._tokens, slot = self._slots(cache)
        self._present, self._starts, self._counts = np.unique(slot, return_index=True, return_counts=True)
        self._pooling = pooling
        self.classes = tuple(cache.manifest["outputs"]["cache"]["classes"])
        self.y = cache.labels if cache.labels.dtype.kind == "f" else cache.labels.astype(np.int64)

    def _slots(self, cache: ActivationCache) -> tuple[np.ndarray, np.ndarray]:
        """Token numbers, and the slot of each: example * slots + slot, ascending."""
        raise NotImplementedError

    def features(self, hidden_td: np.ndarray) -> np.ndarray:
        pooled = np.zeros((self.slots * len(self.y), hidden_td.shape[1]), np.float32)
        pooled[self._present] = _pool(hidden_td[self._tokens], self._starts, self._counts, self._pooling)
        return pooled.reshape(len(self.y), -1)


class TextUnits(SlotUnits):
    """Texts: their own tokens without special ones."""

    slots = 1

    def _slots(self, cache: ActivationCache) -> tuple[np.ndarray, np.ndarray]:
        tokens = np.flatnonzero(~cache.special_mask)
        return tokens, _examples(cache)[tokens]


class SegmentPairUnits(SlotUnits):
    """Pairs of texts: [first text; second text], each over its own tokens without special ones."""

    slots = 2

    def _slots(self, cache: ActivationCache) -> tuple[np.ndarray, np.ndarray]:
        tokens = np.flatnonzero(~cache.special_mask)
        return tokens, (2 * _examples(cache) + cache.segment_ids)[tokens]


class EntityPairUnits(SlotUnits):
    """Two mentions in a text: [first; second], each over the tokens of its words."""

    slots = 2

    def _slots(self, cache: ActivationCache) -> tuple[np.ndarray, np.ndarray]:
        example = _examples(cache)
        inside = [
            np.flatnonzero(
                ~cache.special_mask
                & (cache.word_ids >= cache.spans[example, mention, 0])
                & (cache.word_ids < cache.spans[example, mention, 1])
            )
            for mention in range(2)
        ]
        tokens = np.concatenate(inside)
        slot = np.concatenate([2 * example[found] + mention for mention, found in enumerate(inside)])
        order = np.argsort(slot, kind="stable")
        return tokens[order], slot[order]


UNITS: dict[str, type[Units]] = {
    "word": WordUnits,
    "text": TextUnits,
    "segment_pair": SegmentPairUnits,
    "entity_pair": EntityPairUnits,
}


def units(cache: ActivationCache, pooling: Pooling = "mean") -> Units:
    """The units of a cache, as its task defines them."""
    name = cache.manifest["outputs"]["cache"]["unit"]
    if cache.examples == 0:
        raise InputError(f"{cache.path} has no examples")
    return UNITS[name](cache, pooling)  # type: ignore[call-arg]


def _examples(cache: ActivationCache) -> np.ndarray:
    """The example of every token, int64 [tokens]."""
    return np.repeat(np.arange(cache.examples), np.diff(cache.offsets))


def _word_numbers(cache: ActivationCache) -> np.ndarray:
    """For every token, its word counted over the whole cache, or -1 for special tokens: int64 [tokens]."""
    first = np.repeat(cache.word_offsets[:-1], np.diff(cache.offsets))
    return np.where(cache.special_mask, -1, first + cache.word_ids)


def _pool(tokens_td: np.ndarray, starts: np.ndarray, counts: np.ndarray, pooling: Pooling) -> np.ndarray:
    """One row per run of tokens; runs are contiguous and in order."""
    if pooling == "first":
        return tokens_td[starts].astype(np.float32)
    if pooling == "last":
        return tokens_td[starts + counts - 1].astype(np.float32)
    longest = int(counts.max(initial=0))
    if longest > LONG_RUN:
        sums = np.add.reduceat(tokens_td.astype(np.float32), starts, axis=0)
    else:  # words: a pass per subword, each over the words that have so many
        sums = tokens_td[starts].astype(np.float32)
        for position in range(1, longest):
            longer = np.flatnonzero(counts > position)
            sums[longer] += tokens_td[starts[longer] + position]
    sums /= counts[:, None].astype(np.float32)
    return sums
