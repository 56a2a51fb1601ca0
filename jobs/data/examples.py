"""One example of any task, and the identity of a list of them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

Split = Literal["train", "dev", "test"]
SPLITS: tuple[str, ...] = get_args(Split)

Label = tuple[str, ...] | str | float


@dataclass(frozen=True, slots=True)
class Example:
    """`texts` holds the words of one or two texts; `label` is a tag per word, a class, the names of several
    classes, or a number.

    `spans` are the (first word, word after the last) of the two mentions that a relation is about.
    `document` names what the example was cut from, where a split or a score goes by documents.
    `further_labels` are gold classes of the same relation for which `label` has no room: a prediction may be
    right by one of them, and every other one counts as missed.
    `where` is the file and line that it was read from, for messages; it is no part of the example.
    """

    id: str
    texts: tuple[tuple[str, ...], ...]
    label: Label
    spans: tuple[tuple[int, int], ...] = ()
    document: str = ""
    further_labels: tuple[str, ...] = ()
    where: str = field(default="", compare=False, repr=False)

    @property
    def words(self) -> int:
        """How many words all texts have together."""
        return sum(len(text) for text in self.texts)


def document_names(examples: Iterable[Example]) -> list[str]:
    """The document of each example; one that has none is a document of its own."""
    return [example.document or example.id for example in examples]


def document_numbers(examples: Iterable[Example]) -> list[int]:
    """The document of each example, as the place of the first example of that document."""
    first: dict[str, int] = {}
    return [first.setdefault(name, place) for place, name in enumerate(document_names(examples))]


def text_numbers(examples: Iterable[Example]) -> list[int]:
    """A number of 64 bits for the texts of each example, equal where these are equal word for word."""
    encoded = (json.dumps(example.texts, ensure_ascii=False, allow_nan=False) for example in examples)
    digests = (hashlib.blake2b(texts.encode("utf-8", "surrogatepass"), digest_size=8) for texts in encoded)
    return [int.from_bytes(digest.digest(), "big") for digest in digests]


def rows_digest(examples: Iterable[Example]) -> str:
    """sha256 of the rows after reading: the identity of a dataset, whatever file it came from."""
    total = hashlib.sha256()
    for example in examples:
        row: list[object] = [example.id, example.texts, example.label]
        if example.spans:
            row.append(example.spans)
        if example.further_labels:
            row.append({"further_labels": example.further_labels})
        if example.document:  # it decides what intervals are over
            row.append(example.document)
        total.update(json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass"))
        total.update(b"\n")
    return total.hexdigest()
