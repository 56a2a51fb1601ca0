"""From a cache to what a probe sees: X, y. Subwords are pooled to words, tokens to texts and mentions.

Everything here can change without extracting again.
"""

import numpy as np
from scipy.sparse import csr_matrix

from microtome.analysis.metrics.tags import word_class
from microtome.analysis.numerics.half_precision import to_float32
from microtome.analysis.numerics.parallel import map_row_blocks
from microtome.analysis.pooling import Pair, Pooling, rows_refusal
from microtome.store import ActivationCache
from microtome.store.cache.token_rows import AVERAGED, tokens_of_slots, words_of_tokens
from microtome.store.errors import InputError

LONG_RUN = 32  # tokens; words are shorter, segments longer
ROWS = 1024  # looked at together
HALF_STEP = np.float32(2e-3)  # twice the spacing of float16, relative
MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)  # odd constants


class Units:
    """What a probe is asked about in one cache: words, texts, pairs of segments, pairs of mentions.

    y        int64 [units] class numbers, int64 [units, classes] zeros and ones, or float32 [units]
    classes  names of the classes
    groups   int64 [units], the example of each unit, ascending
    documents int64 [units], the document of each unit, what intervals and hold-outs draw as a whole
    types    uint64 [units], equal for equal words; None where units are no words
    left_out how many examples are no units, as max_length cut off what a probe is asked about
    """

    y: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray
    documents: np.ndarray
    types: np.ndarray | None = None
    left_out: int = 0
    _ids: np.ndarray  # of the tokens of all units
    _cache: str  # its name, for messages
    _pool: "_Pool"  # rows of the cache to vectors of units

    @property
    def vocabulary(self) -> int:
        """One more than the largest token id."""
        return int(self._ids.max(initial=-1)) + 1

    def features(self, hidden_td: np.ndarray) -> np.ndarray:
        """float32 [units, features] from one layer's packed hidden states [tokens, dim].

        InputError if all units have the same features: whatever a probe scored would be the labels' doing.
        """
        found = self._features(hidden_td)
        if len(found) > 1 and _constant(found):
            what = "zero" if not found[0].any() else "one and the same"
            raise InputError(
                f"{self._cache}: the features of all {len(found)} units are {what}, so a probe would see "
                "nothing; leave this layer out, or choose another pooling"
            )
        return found

    def _features(self, hidden_td: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def bag(self, vocabulary: int) -> csr_matrix:
        """How often each unit has each token id, float32 [units, ids]: what can be known without a model."""
        raise NotImplementedError


class WordUnits(Units):
    """Words that the model saw; B- and I- tags are merged into their type, as in Bonfigli et al. (2024)."""

    def __init__(self, cache: ActivationCache, pooling: Pooling, pair: Pair) -> None:
        self._cache = cache.path.name
        tokens, words = words_of_tokens(cache.example_data)
        seen, starts, self._counts = np.unique(words, return_index=True, return_counts=True)
        self._pool = _Pool(cache, pooling, tokens, starts, self._counts, seen)
        self._ids = cache.input_ids[tokens]
        merged = [word_class(name) for name in cache.description.classes]
        self.classes = tuple(dict.fromkeys(merged))
        number = np.array([self.classes.index(name) for name in merged])
        self.y = number[cache.labels[seen]]
        self.groups = np.searchsorted(cache.word_offsets, seen, side="right") - 1
        self.types = _types(self._ids, starts, self._counts)

    def _features(self, hidden_td: np.ndarray) -> np.ndarray:
        return self._pool.of(hidden_td)

    def bag(self, vocabulary: int) -> csr_matrix:
        rows = np.repeat(np.arange(len(self.y)), self._counts)
        return _counts(rows, self._ids, (len(self.y), vocabulary))


class SlotUnits(Units):
    """Examples, each with one or more slots; a slot is the pooled run of some of its tokens, and an empty
    one is zeros. Features are the slots side by side, and what `pair` adds."""

    slots: int

    def __init__(self, cache: ActivationCache, pooling: Pooling, pair: Pair) -> None:
        self._cache, self._pair = cache.path.name, pair
        tokens, slot = self._slots(cache, pooling)
        self.groups = self._complete(cache, slot)
        self.left_out = cache.examples - len(self.groups)
        own = np.isin(slot // self.slots, self.groups)
        tokens, slot = tokens[own], slot[own]
        present, starts, counts = np.unique(slot, return_index=True, return_counts=True)
        self._pool = _Pool(cache, pooling, tokens, starts, counts, present)
        self._slot, self._present = self._of_units(slot), self._of_units(present)
        self._ids = cache.input_ids[tokens]
        self.classes = cache.description.classes
        labels = cache.labels if cache.labels.dtype.kind == "f" else cache.labels.astype(np.int64)
        self.y = labels[self.groups]

    def _slots(self, cache: ActivationCache, pooling: Pooling) -> tuple[np.ndarray, np.ndarray]:
        """Token numbers, and the slot of each: example * slots + slot, ascending."""
        return tokens_of_slots(cache.example_data, cache.unit)

    def _complete(self, cache: ActivationCache, slot: np.ndarray) -> np.ndarray:
        """The examples that are units, ascending; `slot` is that of each token."""
        return np.arange(cache.examples)

    def _of_units(self, slot: np.ndarray) -> np.ndarray:
        """Slots counted over examples, counted over units."""
        return np.searchsorted(self.groups, slot // self.slots) * self.slots + slot % self.slots

    def _features(self, hidden_td: np.ndarray) -> np.ndarray:
        pooled = np.zeros((len(self.y), self.slots, hidden_td.shape[1]), np.float32)
        flat = pooled.reshape(-1, hidden_td.shape[1])
        flat[self._present] = self._pool.of(hidden_td)
        sides = [pooled.reshape(len(self.y), -1)]
        if self.slots == 2 and self._pair == "difference-product":
            one, other = pooled[:, 0], pooled[:, 1]
            sides += [np.abs(one - other), one * other]
        return np.concatenate(sides, axis=1)

    def bag(self, vocabulary: int) -> csr_matrix:
        columns = self._slot % self.slots * vocabulary + self._ids
        return _counts(self._slot // self.slots, columns, (len(self.y), self.slots * vocabulary))


class TextUnits(SlotUnits):
    """Texts: the mean is over their own tokens, or over all; the first and the last token are those of the
    sequence, special ones included, such as [CLS]."""

    slots = 1

    def _slots(self, cache: ActivationCache, pooling: Pooling) -> tuple[np.ndarray, np.ndarray]:
        if pooling == "mean":
            return super()._slots(cache, pooling)
        return np.arange(cache.tokens), np.repeat(np.arange(cache.examples), cache.example_data.lengths)


class SegmentPairUnits(SlotUnits):
    """Pairs of texts: [first text; second text], each over its own tokens without special ones, unless the
    pooling takes them."""

    slots = 2

    def _slots(self, cache: ActivationCache, pooling: Pooling) -> tuple[np.ndarray, np.ndarray]:
        if pooling != "mean-all":
            return super()._slots(cache, pooling)
        example = np.repeat(np.arange(cache.examples), cache.example_data.lengths)
        return np.arange(cache.tokens), 2 * example + cache.segment_ids


class EntityPairUnits(SlotUnits):
    """Two mentions in a text: [first; second], each over the tokens of its words. An example of which a
    mention was cut off is left out: zeros in place of its features may tell its label."""

    slots = 2

    def _complete(self, cache: ActivationCache, slot: np.ndarray) -> np.ndarray:
        complete = np.flatnonzero(np.bincount(np.unique(slot) // 2, minlength=cache.examples) == 2)
        if not len(complete):
            raise InputError(
                f"{self._cache}: no example has both its mentions within max_length; extract again with a "
                "larger one"
            )
        return complete

    def _slots(self, cache: ActivationCache, pooling: Pooling) -> tuple[np.ndarray, np.ndarray]:
        if not np.diff(cache.spans, axis=2).any():
            raise InputError(
                f"{cache.path.name}: no example says where its two mentions are; set marks in the "
                "task's data, and extract again"
            )
        return super()._slots(cache, pooling)


UNITS: dict[str, type[Units]] = {
    "word": WordUnits,
    "text": TextUnits,
    "segment_pair": SegmentPairUnits,
    "entity_pair": EntityPairUnits,
}


def units(cache: ActivationCache, pooling: Pooling = "mean", pair: Pair = "both") -> Units:
    """The units of a cache, as its task defines them."""
    name = cache.description.unit
    if cache.examples == 0:
        raise InputError(f"{cache.path} has no examples")
    refusal = rows_refusal(cache.layout.tokens, name, pooling)
    if refusal:
        raise InputError(f"{cache.path.name}: {refusal}")
    made = UNITS[name](cache, pooling, pair)  # type: ignore[call-arg]
    made.documents = cache.documents[made.groups]
    return made


def _constant(x: np.ndarray) -> bool:
    """Whether all rows are equal, but for what half precision rounds away. Mostly the first rows tell."""
    near = HALF_STEP * np.abs(x[0])
    return all(
        bool((np.abs(x[start : start + ROWS] - x[0]) <= near).all()) for start in range(0, len(x), ROWS)
    )


def _types(ids: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A number per word, made of its token ids: uint64 [words]. Equal words have equal numbers."""
    position = (np.arange(len(ids)) - np.repeat(starts, counts)).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (ids.astype(np.uint64) + np.uint64(1)) * (position * MIX[0] + MIX[1])
        mixed = (mixed ^ (mixed >> np.uint64(29))) * MIX[2]
        return np.add.reduceat(mixed ^ (mixed >> np.uint64(32)), starts)


def _counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)


class _Pool:
    """The rows of a cache as the vectors of runs: run r has the tokens from `tokens[starts[r]]` on,
    `counts[r]` of them. `keys` say what each run is of, as `TokenRows.keys` do."""

    def __init__(
        self,
        cache: ActivationCache,
        pooling: Pooling,
        tokens: np.ndarray,
        starts: np.ndarray,
        counts: np.ndarray,
        keys: np.ndarray,
    ) -> None:
        kept = cache.layout.tokens
        if kept in AVERAGED:  # the means were taken when the cache was made
            pooling, tokens = "first", np.searchsorted(cache.token_rows.keys, keys)
            starts, counts = np.arange(len(keys)), np.ones(len(keys), np.int64)
        elif kept != "all":
            if pooling != "mean":  # only one token of each run is needed, and perhaps only that one is there
                tokens = tokens[starts if pooling == "first" else starts + counts - 1]
                starts, counts = np.arange(len(keys)), np.ones(len(keys), np.int64)
            tokens = np.searchsorted(cache.token_rows.keys, tokens)
        self._pooling, self._rows, self._starts, self._counts = pooling, tokens, starts, counts

    def of(self, hidden_rd: np.ndarray) -> np.ndarray:
        """float32 [runs, dim] of one layer's packed hidden states [rows, dim]."""
        rows, starts, counts = self._rows, self._starts, self._counts
        if self._pooling == "first":
            return to_float32(hidden_rd[rows[starts]])
        if self._pooling == "last":
            return to_float32(hidden_rd[rows[starts + counts - 1]])
        dim = hidden_rd.shape[1]
        pooled = np.empty((len(starts), dim), np.float32)

        def pool(runs: slice) -> None:
            begin, sizes = starts[runs], counts[runs]
            if sizes.max() > LONG_RUN:
                own = rows[begin[0] : begin[-1] + sizes[-1]]
                sums = np.add.reduceat(to_float32(hidden_rd[own]), begin - begin[0], axis=0)
            else:  # words: a pass per subword, each over the words that have so many
                sums = to_float32(hidden_rd[rows[begin]])
                for position in range(1, int(sizes.max())):
                    longer = np.flatnonzero(sizes > position)
                    sums[longer] += to_float32(hidden_rd[rows[begin[longer] + position]])
            np.divide(sums, sizes[:, None].astype(np.float32), out=pooled[runs])

        map_row_blocks(pool, len(starts), 4 * dim * max(1, len(rows) // max(1, len(starts))))
        return pooled
