"""Words to subwords, word by word, for every tokenizer alike, fast or not.

What a tokenizer puts around and between texts is read off once from what it does to two short texts,
so that nothing here depends on a tokenizer's class.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.store.errors import InputError

SPECIAL = -1  # word id of a token that the tokenizer added


@dataclass(frozen=True, slots=True)
class Encoding:
    """One example as the model sees it; all lists have one entry per token.

    word_ids count the words of the example through both texts; SPECIAL marks added tokens.
    `sequences` says how many tokens go through the model together: one entry, or one per text where
    the texts are encoded separately. `mentions_cut` says that one of the two mentions of a relation is not
    in it: what is left cannot say how they are related.
    """

    input_ids: list[int]
    word_ids: list[int]
    segment_ids: list[int]
    special_mask: list[bool]
    sequences: tuple[int, ...]
    truncated_words: int
    mentions_cut: bool = False


class Encoder:
    """Encodes examples for one tokenizer up to `max_length` tokens, special tokens included.

    A causal model whose tokenizer puts nothing between two texts gets its end-of-text token there.
    """

    def __init__(self, tokenizer: Any, *, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._space = _needs_leading_space(tokenizer)
        self._subwords: dict[str, list[int]] = {}
        self._single = special_tokens(tokenizer)
        self._pair = _around_two(tokenizer)
        added = sum(map(len, self._pair))
        if max_length <= added + 1:
            raise InputError(f"max_length {max_length} leaves no room beside {added} special tokens")

    def encode(self, example: Example) -> Encoding:
        """All texts of an example in one sequence; the longer text is cut first, at a word's end. A text with
        two mentions whose end does not fit is cut to a window around them, if they fit into one."""
        texts = [[self.subwords(word) for word in text] for text in example.texts]
        if len(texts) == 1:
            before, after = self._single
            frame: tuple[list[int], ...] = (before, after)
        else:
            frame = self._pair
        room = self.max_length - sum(map(len, frame))
        kept = _fit(texts, room)
        if not example.spans or all(stop <= kept[0] for _, stop in example.spans):
            return _assemble(texts, kept, frame)
        start, stop = window_around(example.spans, [len(subwords) for subwords in texts[0]], room)
        if start == stop:
            return replace(_assemble(texts, kept, frame), mentions_cut=True)
        piece = _assemble([texts[0][start:stop]], [stop - start], frame)
        numbers = [word if word == SPECIAL else word + start for word in piece.word_ids]
        return replace(piece, word_ids=numbers, truncated_words=len(texts[0]) - (stop - start))

    def windows(self, example: Example, stride: int) -> list[Encoding]:
        """The text of an example in as many sequences as it takes, each with at most `stride` tokens of the
        one before. Word ids count through the whole text. A word that is longer than a window is left out;
        the first window says how many were. InputError for two texts."""
        if len(example.texts) != 1:
            raise InputError("stride: only a single text is cut into windows, and the examples have two")
        words = [self.subwords(word) for word in example.texts[0]]
        room = self.max_length - sum(map(len, self._single))
        if stride >= room:
            raise InputError(f"stride {stride} leaves no room for new tokens in windows of {room}")
        kept = [number for number, subwords in enumerate(words) if len(subwords) <= room]
        pieces = []
        for start, stop in _spans([len(words[number]) for number in kept], room, stride):
            part = kept[start:stop]
            piece = _assemble([[words[number] for number in part]], [len(part)], self._single)
            numbers = [word if word == SPECIAL else part[word] for word in piece.word_ids]
            pieces.append(replace(piece, word_ids=numbers))
        pieces[0] = replace(pieces[0], truncated_words=len(words) - len(kept))
        return pieces

    def encode_separately(self, example: Example) -> Encoding:
        """Each text in a sequence of its own, one after the other."""
        pieces = []
        for text in example.texts:
            words = [self.subwords(word) for word in text]
            kept = _fit([words], self.max_length - sum(map(len, self._single)))
            pieces.append(_assemble([words], kept, self._single))
        return _concatenate(pieces, [len(text) for text in example.texts])

    def encode_words(self, examples: Iterable[Example]) -> None:
        """Encode the words of all these examples in one call of the tokenizer, which is faster than one call
        for each. What comes of a word is the same."""
        words = dict.fromkeys(word for example in examples for text in example.texts for word in text)
        self._encode_words([word for word in words if word not in self._subwords])

    def subwords(self, word: str) -> list[int]:
        """Token ids of one word as it stands inside a text, without special tokens."""
        if word not in self._subwords:
            self._encode_words([word])
        return self._subwords[word]

    def _encode_words(self, words: list[str]) -> None:
        if not words:  # some tokenizers refuse an empty list
            return
        texts = [f" {word}" if self._space else word for word in words]
        unknown = self.tokenizer.unk_token_id
        for word, ids in zip(words, self._token_ids(texts), strict=True):
            # A word that the tokenizer cleans away still has a label.
            self._subwords[word] = [unknown] if not ids and unknown is not None else ids

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        options = {
            "add_special_tokens": False,
            "return_attention_mask": False,
            "return_token_type_ids": False,
        }
        return self.tokenizer(texts, **options)["input_ids"]


def _fit(texts: list[list[list[int]]], room: int) -> list[int]:
    """How many words of each text fit into `room` tokens together."""
    sizes = [sum(map(len, words)) for words in texts]
    rooms = [room]
    if len(texts) == 2:
        first = min(sizes[0], max(room - sizes[1], (room + 1) // 2))
        rooms = [first, room - first]
    return [_count(words, limit) for words, limit in zip(texts, rooms, strict=True)]


def window_around(spans: Sequence[tuple[int, int]], sizes: Sequence[int], room: int) -> tuple[int, int]:
    """First word and word after the last of a window of at most `room` tokens around two mentions: as much of
    the text to either side as fits. `sizes` are the tokens of each word. (0, 0) where the mentions do not fit
    together."""
    start, stop = min(first for first, _ in spans), max(last for _, last in spans)
    used = sum(sizes[start:stop])
    if used > room:
        return 0, 0
    open_left, open_right = True, True
    while open_left or open_right:
        open_left = open_left and start > 0 and used + sizes[start - 1] <= room
        if open_left:
            start -= 1
            used += sizes[start]
        open_right = open_right and stop < len(sizes) and used + sizes[stop] <= room
        if open_right:
            used += sizes[stop]
            stop += 1
    return start, stop


def _spans(sizes: list[int], room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Where windows over words of these sizes begin and end: each is as full as it can be, and begins with as
    many of the last words of the one before as have `stride` tokens together."""
    start = 0
    while True:
        stop, used = start, 0
        while stop < len(sizes) and used + sizes[stop] <= room:
            used += sizes[stop]
            stop += 1
        yield start, stop
        if stop == len(sizes):
            return
        shared, start = 0, stop
        most = min(stride, room - sizes[stop])  # what the next window adds has to fit beside it
        while start > 0 and shared + sizes[start - 1] <= most:
            start -= 1
            shared += sizes[start]


def _count(words: list[list[int]], limit: int) -> int:
    used = 0
    for number, subwords in enumerate(words):
        used += len(subwords)
        if used > limit:
            return number
    return len(words)


def _assemble(texts: list[list[list[int]]], kept: list[int], frame: tuple[list[int], ...]) -> Encoding:
    ids: list[int] = []
    words: list[int] = []
    segments: list[int] = []

    def add(tokens: list[int], word: int, segment: int) -> None:
        ids.extend(tokens)
        words.extend([word] * len(tokens))
        segments.extend([segment] * len(tokens))

    add(frame[0], SPECIAL, 0)
    first_word = 0
    for segment, text in enumerate(texts):
        for number, subwords in enumerate(text[: kept[segment]]):
            add(subwords, first_word + number, segment)
        add(frame[segment + 1], SPECIAL, segment)
        first_word += len(text)
    truncated = sum(map(len, texts)) - sum(kept)
    return Encoding(ids, words, segments, [w == SPECIAL for w in words], (len(ids),), truncated)


def _concatenate(pieces: list[Encoding], words: list[int]) -> Encoding:
    first = [sum(words[:i]) for i in range(len(words))]
    return Encoding(
        input_ids=[t for p in pieces for t in p.input_ids],
        word_ids=[w if w == SPECIAL else w + first[i] for i, p in enumerate(pieces) for w in p.word_ids],
        segment_ids=[i for i, p in enumerate(pieces) for _ in p.input_ids],
        special_mask=[s for p in pieces for s in p.special_mask],
        sequences=tuple(len(p.input_ids) for p in pieces),
        truncated_words=sum(p.truncated_words for p in pieces),
    )


def _needs_leading_space(tokenizer: Any) -> bool:
    """Whether the tokenizer tells a word inside a text from a word at its start (byte-level BPE)."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    spaced = tokenizer(" a", add_special_tokens=False)["input_ids"]
    puts_space_itself = tokenizer.convert_ids_to_tokens(bare)[0].startswith("\u2581")
    return bare != spaced and not puts_space_itself


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a single text."""
    text = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = _find(whole, text, 0)
    return whole[:start], whole[start + len(text) :]


def _around_two(tokenizer: Any) -> tuple[list[int], list[int], list[int]]:
    """The special tokens before, between and after two texts."""
    text = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", "a")["input_ids"]
    first = _find(whole, text, 0)
    second = _find(whole, text, first + len(text))
    between = whole[first + len(text) : second]
    if not between and tokenizer.eos_token_id is not None:
        between = [tokenizer.eos_token_id]
    return whole[:first], between, whole[second + len(text) :]


def _find(whole: list[int], part: list[int], start: int) -> int:
    for position in range(start, len(whole) - len(part) + 1):
        if whole[position : position + len(part)] == part:
            return position
    raise InputError("this tokenizer changes a text when it adds special tokens; it cannot be aligned")
