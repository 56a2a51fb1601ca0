"""Prompts of a task's examples, as tokens: a template filled with texts, answered examples before it, and the
turns of a chat where the model was trained on such.
"""

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example
from microtome.store.errors import InputError, unknown

TEXTS = ("first", "second")  # places in a template for the texts of an example
LABEL = "label"  # the place for the label that is asked about, where every label is asked about by itself
LABELS = "labels"  # the place for the names of all labels
BETWEEN_SHOTS = "\n\n"
MARK = re.compile("\ue000([0-9]+)\ue001")  # what stands for a turn in the text of a chat template


@dataclass(frozen=True)
class Template:
    """The words of a prompt; where an example's text goes, the number of the text."""

    parts: tuple[str | int, ...]

    def words(self, texts: Sequence[Sequence[str]]) -> list[str]:
        """The words of the prompt about an example with these texts."""
        filled: list[str] = []
        for part in self.parts:
            filled += [part] if isinstance(part, str) else texts[part]
        return filled


def parse_template(text: str, texts: int, *, asks_each_label: bool = False) -> list[tuple[list[str], str]]:
    """The runs of words of a template, each with the place that follows it; "" at the end.

    Raises InputError for places that an example with so many texts does not have, or that are missing.
    """
    try:
        parsed = [(words.split(), place or "") for words, place, _, _ in string.Formatter().parse(text)]
    except ValueError as error:
        raise InputError(f"template '{text}': {error}") from None
    needed = (*TEXTS[:texts], *((LABEL,) if asks_each_label else ()))
    places = [place for _, place in parsed if place]
    for place in places:
        if place not in (*needed, LABELS):
            raise unknown(f"place in template '{text}'", place, (*needed, LABELS))
    for place in needed:
        if places.count(place) != 1:
            raise InputError(f"template '{text}' needs {{{place}}} exactly once")
    return parsed


def template_about(text: str, texts: int, labels: Sequence[str], label: str | None = None) -> Template:
    """A template whose places for labels are filled; `label` is the one that it asks about, if it asks about
    each by itself."""
    parts: list[str | int] = []
    for words, place in parse_template(text, texts, asks_each_label=label is not None):
        parts += words
        if place in TEXTS:
            parts.append(TEXTS.index(place))
        elif place:
            parts += (str(label) if place == LABEL else ", ".join(labels)).split()
    return Template(tuple(parts))


class Prompts:
    """The prompts of one template for one tokenizer, with room for a text and the longest choice.

    Text is encoded word by word. `shots` are examples that are shown with their answers before the question.
    Each of them may take an equal share of the room; what does not fit loses words at its beginning, as the
    question does, which has what the shots leave. As a chat, questions are the user's turns and answers the
    assistant's, in the form of the tokenizer's own chat template.
    Raises InputError for a tokenizer without one, and if no room is left for a text.
    """

    def __init__(
        self,
        encoder: Encoder,
        template: Template,
        choices: Sequence[str],
        *,
        begin: Sequence[int],
        positions: int,
        shots: Sequence[tuple[Example, str]] = (),
        chat: bool = False,
    ) -> None:
        self._encoder = encoder
        self._template = template
        self._positions = positions
        self._turns = _Chat(encoder) if chat else _Plain(encoder, begin)
        self.choices = [self._turns.answer(choice) for choice in choices]
        empty = [()] * len(TEXTS)
        bare = [(template.words(empty), answer) for _, answer in shots]
        room = positions - max(map(len, self.choices)) - len(self._turns.prompt(bare, template.words(empty)))
        if room < 1:
            what = "template, shots and labels leave" if shots else "template and labels leave"
            raise InputError(f"{what} no room for a text in {positions} positions")
        share = room // (len(shots) + 1)
        kept = [(_last_words(encoder, example.texts, share), answer) for example, answer in shots]
        self._shots = [(template.words(texts), answer) for texts, answer in kept]
        self._room = room - sum(_size(encoder, text) for texts, _ in kept for text in texts)
        self.blank = self._turns.prompt(self._shots, template.words(empty))

    def of(self, example: Example) -> tuple[list[int], int]:
        """The tokens of the prompt about an example, and how many of its words were cut."""
        room = self._room
        while True:
            kept = _last_words(self._encoder, example.texts, room)
            prompt = self._turns.prompt(self._shots, self._template.words(kept))
            # A word that begins a turn of a chat may take more tokens than within a text.
            excess = len(prompt) + max(map(len, self.choices)) - self._positions
            if excess <= 0 or not any(kept):
                return prompt, example.words - sum(map(len, kept))
            room -= excess


class _Plain:
    """Questions and answers as running text."""

    def __init__(self, encoder: Encoder, begin: Sequence[int]) -> None:
        self._encoder = encoder
        self._begin = list(begin)
        self._between = encoder.tokenizer(BETWEEN_SHOTS, add_special_tokens=False)["input_ids"]

    def answer(self, choice: str) -> list[int]:
        return _subwords(self._encoder, choice.split())

    def prompt(self, shots: Sequence[tuple[Sequence[str], str]], question: Sequence[str]) -> list[int]:
        ids: list[int] = []
        for words, answer in shots:
            ids += [*_subwords(self._encoder, words), *self.answer(answer), *self._between]
        return [*self._begin, *ids, *_subwords(self._encoder, question)]


class _Chat:
    """Questions and answers as turns of user and assistant."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        if not getattr(encoder.tokenizer, "chat_template", None):
            raise InputError(
                "the model's tokenizer has no chat template; leave out chat, or take the instruct model"
            )
        self._rendered: dict[int, list[str]] = {}

    def answer(self, choice: str) -> list[int]:
        return self._turn(choice.split(), after_space=self._frame(2)[1].endswith(" "))

    def prompt(self, shots: Sequence[tuple[Sequence[str], str]], question: Sequence[str]) -> list[int]:
        turns = [turn for words, answer in shots for turn in (words, answer.split())]
        turns.append(question)
        *frame, last = self._frame(len(turns))
        ids: list[int] = []
        for literal, turn in zip(frame, turns, strict=True):
            ids += self._literal(literal) + self._turn(turn, after_space=literal.endswith(" "))
        return ids + self._literal(last)

    def _frame(self, turns: int) -> list[str]:
        """What the chat template puts before, between and after this many turns."""
        if turns not in self._rendered:
            messages = [
                {"role": ("user", "assistant")[turn % 2], "content": f"\ue000{turn}\ue001"}
                for turn in range(turns)
            ]
            text = self._encoder.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            pieces = MARK.split(text)
            if list(map(int, pieces[1::2])) != list(range(turns)):
                raise InputError("the model's chat template does not show every turn once and in order")
            self._rendered[turns] = pieces[::2]
        return self._rendered[turns]

    def _literal(self, text: str) -> list[int]:
        """A space at its end belongs to the word that follows."""
        return self._ids(text.removesuffix(" "))

    def _turn(self, words: Sequence[str], *, after_space: bool) -> list[int]:
        if after_space or not words:
            return _subwords(self._encoder, words)
        return self._ids(words[0]) + _subwords(self._encoder, words[1:])

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._encoder.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids


def _subwords(encoder: Encoder, words: Iterable[str]) -> list[int]:
    return [token for word in words for token in encoder.subwords(word)]


def _size(encoder: Encoder, words: Iterable[str]) -> int:
    return len(_subwords(encoder, words))


def _last_words(encoder: Encoder, texts: Sequence[Sequence[str]], room: int) -> list[Sequence[str]]:
    """The last words of each text that fit into `room` tokens together; the longer text is cut first."""
    rooms = [room]
    if len(texts) == 2:
        sizes = [_size(encoder, text) for text in texts]
        first = min(sizes[0], max(room - sizes[1], (room + 1) // 2))
        rooms = [first, room - first]
    return [_end(encoder, text, limit) for text, limit in zip(texts, rooms, strict=True)]


def _end(encoder: Encoder, text: Sequence[str], room: int) -> Sequence[str]:
    for start in range(len(text) - 1, -1, -1):
        room -= len(encoder.subwords(text[start]))
        if room < 0:
            return text[start + 1 :]
    return text
