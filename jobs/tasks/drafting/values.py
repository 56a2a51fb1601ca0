"""How the values of a column are written: numbers with a decimal comma, and several classes in one cell."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from microtome.jobs.data.readers.formats import DELIMITERS

Row = Mapping[str, Any]
WITH_COMMA = re.compile(r"-?\d+(,\d+)?")
WHOLE = re.compile(r"-?\d+(\.0+)?")


def values_of(rows: Sequence[Row], name: str) -> list[Any]:
    """What stands in a column, without what is empty."""
    return [row[name] for row in rows if row.get(name) not in (None, "")]


def has_decimal_comma(values: Sequence[Any]) -> bool:
    """Whether these are numbers, some of them with a comma where others write a point."""
    texts = [value for value in values if isinstance(value, str)]
    return (
        len(texts) == len(values)
        and all(WITH_COMMA.fullmatch(text.strip()) for text in texts)
        and any("," in text for text in texts)
    )


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether there are values, and each is a number, or a text that says one."""
    if has_decimal_comma(values):
        return True
    try:
        return bool([float(value) for value in values if not isinstance(value, bool)])
    except (ValueError, TypeError):
        return False


def are_whole(values: Sequence[Any]) -> bool:
    """Whether each number is whole, however it is written."""
    return all(WHOLE.fullmatch(str(value).strip()) for value in values)


def have_a_point(values: Sequence[Any]) -> bool:
    """Whether some number is written with a point, as one that is measured is."""
    return any("." in str(value) for value in values)


def classes_joined_by(values: Sequence[Any]) -> str | None:
    """The name of the delimiter that parts several classes in a cell; nothing where each cell is one.

    Cells that are joined share their parts with others: there are no more parts than different cells.
    """
    if not values or not all(isinstance(value, str) for value in values) or are_numbers(values):
        return None
    cells = sorted(set(values))
    for name in ("semicolon", "pipe", "comma"):
        parts = [[part.strip() for part in cell.split(DELIMITERS[name])] for cell in cells]
        combined = [own for own in parts if len(own) > 1]
        distinct = {part for own in parts for part in own}
        sound = all(part for own in combined for part in own) and all(
            len(set(own)) == len(own) for own in combined
        )
        in_others = [sum(part in own for own in parts) > 1 for several in combined for part in several]
        if combined and sound and any(in_others) and len(distinct) <= len(cells):
            return name
    return None
