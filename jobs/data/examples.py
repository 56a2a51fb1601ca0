"""One example of any task, and the identity of a list of them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = ("train", "dev", "test")

Label = tuple[str, ...] | str | float


@dataclass(frozen=True, slots=True)
class Example:
    """`texts` holds the words of one or two texts; `label` is a tag per word, a class or a number."""

    id: str
    texts: tuple[tuple[str, ...], ...]
    label: Label

    @property
    def words(self) -> int:
        """How many words all texts have together."""
        return sum(len(text) for text in self.texts)


def rows_digest(examples: Iterable[Example]) -> str:
    """sha256 of the rows after reading: the identity of a dataset, whatever file it came from."""
    total = hashlib.sha256()
    for example in examples:
        row = [example.id, example.texts, example.label]
        total.update(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        total.update(b"\n")
    return total.hexdigest()
