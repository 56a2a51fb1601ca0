"""Packing: documents to blocks of token ids, in a file, so that a corpus need not fit into memory."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from microtome.jobs.data.encoding import special_tokens
from microtome.store.errors import InputError

BATCH_DOCUMENTS = 256
BATCH_CHARACTERS = 1 << 20


class Blocks(Sequence[list[int]]):
    """The blocks of a packed corpus, read from its file; each is the list of ids that the model sees.

    `path` is a flat file of uint32 ids without the special tokens around blocks, `offsets` int64
    [blocks + 1] are positions in it, `frame` is what stands before and after every block. `tokens` counts
    the ids in the file.
    """

    def __init__(self, path: Path, offsets: np.ndarray, frame: tuple[list[int], list[int]]) -> None:
        self.path = path
        self.offsets = offsets
        self.frame = frame
        self.tokens = int(offsets[-1])
        self._ids = np.memmap(path, np.uint32, "r")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        block = range(len(self))[index]
        before, after = self.frame
        return [*before, *self._ids[self.offsets[block] : self.offsets[block + 1]].tolist(), *after]


def pack(documents: Iterable[str], tokenizer: Any, size: int, path: Path, *, join: bool = False) -> Blocks:
    """Write the token ids of the documents to `path` and give blocks of at most `size` tokens over them.

    Every block gets the special tokens that the tokenizer puts around a text; they count towards `size`.
    No block holds parts of two documents, unless `join`: then the documents run on, with the tokenizer's
    end-of-text or separator token between them, and every block but the last has exactly `size` tokens.
    A last piece of one token, which nothing can be predicted from, is left out. InputError if there is no
    room beside the special tokens, no token to join with, or no block at all.
    """
    frame = special_tokens(tokenizer)
    room = size - sum(map(len, frame))
    if room < 2:
        raise InputError(f"blocks of {size} tokens leave no room beside {size - room} special tokens")
    texts = _encoded(documents, tokenizer)
    if join:
        texts = _joined(texts, _separator(tokenizer), room)
    ends = array("q", [0])
    with path.open("wb") as stream:
        for ids in texts:
            kept = len(ids) - (len(ids) % room == 1)
            stream.write(np.asarray(ids[:kept], np.uint32).tobytes())
            first = ends[-1]
            ends.extend(first + min(start + room, kept) for start in range(0, kept, room))
    if len(ends) == 1:
        raise InputError("the corpus gives no block: there is no text of two tokens in it")
    return Blocks(path, np.frombuffer(ends, np.int64), frame)


def _encoded(documents: Iterable[str], tokenizer: Any) -> Iterator[list[int]]:
    """Token ids per document, tokenised in batches of bounded size."""
    for batch in _batches(documents):
        yield from tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _joined(texts: Iterable[list[int]], separator: int, room: int) -> Iterator[list[int]]:
    """The documents one behind the other, in pieces whose length is a multiple of `room`, but the last."""
    pending: list[int] = []
    begun = False
    for ids in texts:
        if not ids:
            continue
        if begun:
            pending.append(separator)
        pending += ids
        begun = True
        whole = len(pending) // room * room
        yield pending[:whole]
        pending = pending[whole:]
    yield pending


def _separator(tokenizer: Any) -> int:
    for id in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if id is not None:
            return int(id)
    raise InputError("this tokenizer has no end-of-text or separator token to join documents with")
