"""What is kept of the tokens of each example: all of them, some, or means of some; one row each.

A sentence task of a large model needs one vector per layer, not one per token. What the rows stand for
follows from the examples alone, so that nothing more is stored.
"""

from dataclasses import dataclass

import numpy as np

from microtome.store.cache.examples import Examples
from microtome.store.errors import InputError

TOKENS = {
    "all": "every token",
    "words": "the mean of the subwords of each word",
    "first_subwords": "the first subword of each word",
    "last_subwords": "the last subword of each word",
    "labelled": "the tokens that a label is of: those of words, of both texts of a pair, or of two mentions",
    "mean": "the mean of each text's own tokens; of relations, of each of the two mentions",
    "cls": "the first token of the sequence, such as [CLS]",
    "last": "the last token of the sequence",
}
AVERAGED = ("words", "mean")  # the other rows are single tokens
UNITS = ("word", "text", "segment_pair", "entity_pair")


@dataclass(frozen=True)
class TokenRows:
    """The rows of all examples, one after the other.

    counts   int64 [examples]   how many rows each example has
    tokens   int64 [m]          the tokens of all rows, counted over all examples
    starts   int64 [rows + 1]   where the tokens of each row begin
    keys     int64 [rows]       what each row is of, ascending: a token, a word counted over all examples, or
                                a slot (`tokens_of_slots`)
    """

    counts: np.ndarray
    tokens: np.ndarray
    starts: np.ndarray
    keys: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """Where the rows of each example begin: int64 [examples + 1]."""
        return np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])


def token_rows(examples: Examples, tokens: str, unit: str) -> TokenRows:
    """The rows that are kept, where labels are of `unit`. InputError if `tokens` does not fit it."""
    refusal = tokens_refusal(tokens, unit)
    if refusal:
        raise InputError(refusal)
    if tokens == "words":
        members, keys = words_of_tokens(examples)
        return _rows(examples, members, keys)
    if tokens == "mean":
        members, keys = tokens_of_slots(examples, "text" if unit == "word" else unit)
        return _rows(examples, members, keys)
    single = _single_tokens(examples, tokens, unit)
    return _rows(examples, single, single)


def tokens_refusal(tokens: str, unit: str) -> str:
    """Why `tokens` cannot be kept where labels are of `unit`; empty where they can."""
    if tokens == "labelled" and unit == "text":
        return "tokens: labelled does not fit labels of whole texts; choose mean, cls or last"
    return ""


def words_of_tokens(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of words, and the word of each counted over all examples: int64 [m] both, ascending."""
    first = np.repeat(examples.word_offsets[:-1], examples.lengths)
    tokens = np.flatnonzero(~examples.special_mask)
    return tokens, (first + examples.word_ids)[tokens]


def tokens_of_slots(examples: Examples, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of the slots of a unit, and the slot of each, ascending: int64 [m] both.

    A text has one slot per example, a pair of texts or of mentions two: 2 * example, and the one after it.
    Special tokens are in none, and a token of two mentions that overlap is in both.
    """
    example = np.repeat(np.arange(len(examples.rows)), examples.lengths)
    own = np.flatnonzero(~examples.special_mask)
    if unit == "text":
        return own, example[own]
    if unit == "segment_pair":
        return own, (2 * example + examples.segment_ids)[own]
    inside = []
    for mention in range(2):
        first, stop = examples.spans[example[own], mention].T
        words = examples.word_ids[own]
        inside.append(own[(words >= first) & (words < stop)])
    tokens = np.concatenate(inside)
    slots = np.concatenate([2 * example[one] + mention for mention, one in enumerate(inside)])
    order = np.argsort(slots, kind="stable")
    return tokens[order], slots[order]


def _single_tokens(examples: Examples, tokens: str, unit: str) -> np.ndarray:
    """The tokens that are kept as they are, ascending."""
    if tokens == "all":
        return np.arange(int(examples.offsets[-1]))
    if tokens == "cls":
        return examples.offsets[:-1]
    if tokens == "last":
        return examples.offsets[1:] - 1
    if tokens == "labelled":
        return np.unique(tokens_of_slots(examples, "text" if unit == "word" else unit)[0])
    members, words = words_of_tokens(examples)
    changes = np.flatnonzero(np.diff(words)) + 1
    first = np.concatenate([[0], changes]) if len(members) else changes
    last = np.concatenate([changes, [len(members)]]) - 1 if len(members) else changes
    return members[first if tokens == "first_subwords" else last]


def _rows(examples: Examples, tokens: np.ndarray, keys: np.ndarray) -> TokenRows:
    """A row for each run of equal keys."""
    unique, starts = np.unique(keys, return_index=True)
    example = np.searchsorted(examples.offsets, tokens[starts], side="right") - 1
    counts = np.bincount(example, minlength=len(examples.rows)).astype(np.int64)
    ends = np.concatenate([starts, [len(tokens)]]).astype(np.int64)
    return TokenRows(counts, tokens.astype(np.int64), ends, unique.astype(np.int64))
