"""From a cache to what a probe sees: X, y. Subwords are pooled to words, tokens to segments.

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
    """What a probe classifies in one cache: words, or pairs of segments.

    y        int64 [units]     class numbers
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


class SegmentPairUnits(Units):
    """Pairs of texts: [first text; second text], each pooled over its own tokens without special ones."""

    def __init__(self, cache: ActivationCache, pooling: Pooling) -> None:
        example = np.repeat(np.arange(cache.examples), np.diff(cache.offsets))
        slots = 2 * example + cache.segment_ids
        self._tokens = np.flatnonzero(~cache.special_mask)
        self._present, self._starts, self._counts = np.unique(
            slots[self._tokens], return_index=True, return_counts=True
        )
        self._pooling = pooling
        self.classes = tuple(cache.manifest["outputs"]["cache"]["classes"])
        self.y = cache.labels.astype(np.int64)

    def features(self, hidden_td: np.ndarray) -> np.ndarray:
        pooled = np.zeros((2 * len(self.y), hidden_td.shape[1]), np.float32)  # an empty text is zeros
        pooled[self._present] = _pool(hidden_td[self._tokens], self._starts, self._counts, self._pooling)
        return pooled.reshape(len(self.y), -1)


UNITS: dict[str, type[WordUnits] | type[SegmentPairUnits]] = {
    "word": WordUnits,
    "segment_pair": SegmentPairUnits,
}


def units(cache: ActivationCache, pooling: Pooling = "mean") -> Units:
    """The units of a cache, as its task defines them."""
    name = cache.manifest["outputs"]["cache"]["unit"]
    if cache.examples == 0:
        raise InputError(f"{cache.path} has no examples")
    return UNITS[name](cache, pooling)


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
