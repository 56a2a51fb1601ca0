"""What no setting may hold, whatever it means: each check raises ValueError with the rest of the line."""

import types
import typing
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

STRANGE = ("Cc", "Cs")  # control characters and halves of characters
PLAIN_CONTROLS = "\t\n\r"


def refuse_strange_values(value: Any, field: FieldInfo) -> None:
    """Of a value as it was read: text that no file name or terminal takes, empty text where there has to be
    some, and a truth value where a number is wanted. A field whose default is empty text may be empty, and
    so may the items of one that is declared with `empty_items`."""
    if _is_settings(field.annotation):
        return  # they look after themselves
    for text in _texts(value):
        strange = [c for c in text if unicodedata.category(c) in STRANGE and c not in PLAIN_CONTROLS]
        if strange:
            raise ValueError(f"character {strange[0]!a} cannot be part of it")
        if not text.strip() and field.default != "" and not _declared(field, "empty_items"):
            raise ValueError("text is empty")
    if not any(leaf in (bool, Any) or _is_settings(leaf) for leaf in _leaves(field.annotation)):
        found = [item for item in _items(value) if isinstance(item, bool)]
        if found:
            raise ValueError(f"found {str(found[0]).lower()}, which is neither a number nor quoted text")


def refuse_repeated_items(value: Any, field: FieldInfo) -> None:
    """Of a value as it was understood: an item that stands twice in a list, unless the field is declared with
    `repeats`."""
    if not isinstance(value, tuple) or _declared(field, "repeats"):
        return
    for number, item in enumerate(value):
        if item in value[:number]:
            named = f"item {number + 1}" if isinstance(item, BaseModel) else f"'{item}'"
            raise ValueError(f"{named} is given twice")


def _declared(field: FieldInfo, mark: str) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get(mark))


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else [value]


def _texts(value: Any) -> Iterator[str]:
    """The texts of a value and of what is directly in it."""
    keys = value if isinstance(value, Mapping) else ()
    yield from (item for item in (*keys, *_items(value)) if isinstance(item, str))


def _is_settings(annotation: Any) -> bool:
    """Whether a field holds settings of its own, or none."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_is_settings(part) for part in typing.get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _leaves(annotation: Any) -> set[Any]:
    """The types that an annotation is made of."""
    inner = typing.get_args(annotation)
    if not inner or typing.get_origin(annotation) is typing.Literal:
        return {annotation}
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType, tuple, dict, typing.Annotated):
        return {annotation}
    return set().union(*(_leaves(part) for part in inner if part is not ...))
