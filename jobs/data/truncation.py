"""What a maximal length cuts off: words that a model never sees, and entities that are lost with them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from microtome.jobs.data.encoding import SPECIAL, Encoding
from microtome.jobs.data.examples import Example

WORTH_SAYING = 0.01  # share of the words, or of the entities, from which a reader is warned


@dataclass(frozen=True)
class Truncation:
    """Of some examples: how many words they have and how many of them are beyond the maximal length; how many
    gold entities or marked mentions they have, and how many of these have a word there."""

    words: int
    truncated_words: int
    entities: int
    truncated_entities: int

    @property
    def share(self) -> float:
        """Of the words; 0 of none."""
        return self.truncated_words / max(1, self.words)

    @property
    def entity_share(self) -> float:
        """Of the entities; 0 of none."""
        return self.truncated_entities / max(1, self.entities)

    @property
    def worth_saying(self) -> bool:
        """Whether more is cut off than a reader may be left to find out."""
        return max(self.share, self.entity_share) > WORTH_SAYING

    def rows(self) -> dict[str, float]:
        """As metrics of a result; without entities where the examples have none."""
        rows: dict[str, float] = {"truncated_words": self.truncated_words, "truncated_share": self.share}
        if self.entities:
            rows["truncated_entities"] = self.truncated_entities
            rows["truncated_entity_share"] = self.entity_share
        return rows

    def counts(self) -> dict[str, int]:
        """The four counts by name."""
        return asdict(self)

    def __str__(self) -> str:
        text = f"{self.truncated_words} of {self.words} words ({self.share:.1%})"
        if not self.entities:
            return text
        return f"{text} and {self.truncated_entities} of {self.entities} entities ({self.entity_share:.1%})"


def truncation(examples: Sequence[Example], windows: Iterable[Sequence[Encoding]]) -> Truncation:
    """`windows` are the encodings of each example: one, or several that share its words."""
    words = truncated_words = entities = truncated_entities = 0
    for example, encodings in zip(examples, windows, strict=True):
        spans = list(entity_spans(example))
        words += example.words
        entities += len(spans)
        if len(encodings) == 1 and not encodings[0].truncated_words:
            continue  # nothing is cut off
        seen = {word for encoding in encodings for word in encoding.word_ids} - {SPECIAL}
        truncated_words += example.words - len(seen)
        truncated_entities += sum(not seen.issuperset(range(*span)) for span in spans)
    return Truncation(words, truncated_words, entities, truncated_entities)


def entity_spans(example: Example) -> Iterator[tuple[int, int]]:
    """(first word, word after the last) of the mentions of a relation, or of the entities of tags."""
    if example.spans or not is_tagged(example):
        yield from example.spans
        return
    tags: Sequence[str] = example.label  # type: ignore[assignment]
    for start, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = start + 1
            while end < len(tags) and tags[end] == f"I-{tag[2:]}":
                end += 1
            yield start, end


def is_tagged(example: Example) -> bool:
    """Whether the label is a tag for every word."""
    tags = example.label
    return (
        isinstance(tags, tuple)
        and len(tags) == example.words
        and all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags)
    )
