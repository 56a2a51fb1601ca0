"""What a cache says of itself in its manifest. It is written and read here and nowhere else."""

from collections.abc import MutableMapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from microtome.store.artifacts.artifact import Artifact
from microtome.store.cache.layout import Layout
from microtome.store.errors import InputError, StoreError

OUTPUT = "cache"  # the key under `outputs` of the manifest

Segments = Literal["together", "separate"]


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """One array of a part: a checksum of the values of each layer. An uncompressed array also has the `file`
    of the part (relative to it) and the byte `offset` where its first layer begins."""

    checksums: tuple[str, ...]
    file: str | None = None
    offset: int | None = None


@dataclass(frozen=True, kw_only=True)
class StoredPart:
    """A part: the examples start..stop (without `stop`), its path in the artifact, its size on disk."""

    file: str
    start: int
    stop: int
    bytes: int
    arrays: dict[str, StoredArray]

    @property
    def examples(self) -> range:
        """The examples of the part."""
        return range(self.start, self.stop)


@dataclass(frozen=True, kw_only=True)
class CachedSplit:
    """The split of a task that a cache holds, and how it was encoded.

    unit             what a label belongs to: word, text, segment_pair or entity_pair
    classes          names of the label numbers; empty where labels are numbers
    credentialed     whether the data was given under an agreement
    segments         whether the two texts of a pair were encoded in one sequence or each in its own
    max_length       tokens per sequence; `truncated_words` is how many words were beyond it
    compute          dtype of the forward pass
    """

    task: str
    split: str
    unit: str
    classes: tuple[str, ...]
    credentialed: bool
    segments: Segments
    max_length: int
    truncated_words: int
    compute: str = "float32"


@dataclass(frozen=True, kw_only=True)
class CacheDescription(CachedSplit):
    """All that a cache says of itself: what it holds, in which shape, and where it lies."""

    layout: Layout
    format: str
    compression: str
    examples: int
    tokens: int
    parts: tuple[StoredPart, ...]

    @classmethod
    def of_split(cls, split: CachedSplit, **stored: Any) -> Self:
        """The description of a cache of `split`; `stored` are the fields that its writer knows."""
        return cls(**{field.name: getattr(split, field.name) for field in fields(CachedSplit)}, **stored)

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """The description of a cache; InputError if the artifact is none, StoreError if it is unreadable."""
        if not is_cache(artifact):
            raise InputError(f"{artifact.path} is no activation cache but a {artifact.kind} artifact")
        try:
            return TypeAdapter(cls).validate_python(artifact.outputs[OUTPUT])
        except (ValidationError, InputError) as error:
            raise StoreError(
                f"{artifact.name}: its manifest does not describe a cache as this version of microtome "
                f"does ({_first(error)}); remove it (microtome cache rm) and extract again"
            ) from None

    def write(self, outputs: MutableMapping[str, Any]) -> None:
        """Put the description into the `outputs` of a manifest in the making."""
        outputs[OUTPUT] = TypeAdapter(type(self)).dump_python(self, mode="json", exclude_none=True)


def is_cache(artifact: Artifact) -> bool:
    """Whether an artifact holds activations."""
    return OUTPUT in artifact.outputs


def part_to_json(part: StoredPart) -> dict[str, Any]:
    """A part as the record beside an unfinished cache holds it."""
    return TypeAdapter(StoredPart).dump_python(part, mode="json", exclude_none=True)


def part_from_json(values: Any) -> StoredPart:
    """The inverse of `part_to_json`; ValueError for what is no such record."""
    return TypeAdapter(StoredPart).validate_python(values)


def _first(error: ValidationError | InputError) -> str:
    if isinstance(error, InputError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
