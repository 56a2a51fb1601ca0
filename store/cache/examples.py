"""What a cache says of its examples, in `examples.npz`: everything but the activations."""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np

from microtome.store.artifacts.contents import Contents

EXAMPLES = "examples.npz"


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a cache says of its examples. t runs over tokens, w over words, e over examples.

    offsets       int64 [e + 1]   where each example's tokens start
    input_ids     int32 [t]
    word_ids      int32 [t]       word of the example that a token belongs to, -1 for special tokens
    segment_ids   int8  [t]       0 first text, 1 second text
    special_mask  bool  [t]       tokens the tokenizer added
    word_offsets  int64 [e + 1]   where each example's words start (all words, also truncated ones)
    labels        int or float    [w], [e] or [e, classes], as the task has it
    spans         int32 [e, 2, 2] first word and word after the last of two mentions; zeros without mentions
    rows          int64 [e]       which row of the split each example is
    documents     int64 [e]       the document that it is from, as the row of that document's first example;
                                  where the corpus names no documents, every example is one: `rows`
    texts         uint64 [e]      a number that is equal for examples with the same texts, in all caches; None
                                  in a cache that was written before it was kept
    """

    offsets: np.ndarray
    input_ids: np.ndarray
    word_ids: np.ndarray
    segment_ids: np.ndarray
    special_mask: np.ndarray
    word_offsets: np.ndarray
    labels: np.ndarray
    spans: np.ndarray
    rows: np.ndarray
    documents: np.ndarray
    texts: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per example, int64 [e]."""
        return np.diff(self.offsets)

    def bytes(self) -> int:
        """What the arrays take, in memory and on disk."""
        return sum(array.nbytes for array in self._arrays().values())

    def save(self, path: Path) -> None:
        """Write all arrays to one file."""
        np.savez(path, allow_pickle=False, **self._arrays())

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def load(cls, contents: Contents) -> Self:
        """Read those of a cache back; StoreError if the file is missing or damaged.

        A cache that was written before documents were kept has none: every example is one.
        """
        with np.load(io.BytesIO(contents.read(EXAMPLES)), allow_pickle=False) as arrays:
            stored = dict(arrays)
        return cls(**{"documents": stored["rows"]} | stored)
