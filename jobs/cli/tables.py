"""Rows as tables on the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

MANY_ROWS = 1000
Row = Mapping[str, Any]


def as_table(rows: Iterable[Row], columns: Sequence[str] | None = None) -> Table:
    """A rich table; numbers to the right, missing cells empty. Without `columns`, those of the rows, in the
    order in which they first occur."""
    rows = list(rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = columns_of(rows) if columns is None else columns
    for column in columns:
        table.add_column(column, justify="right" if _numeric(rows, column) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def print_rows(rows: Sequence[Row], screen: Console, columns: Sequence[str] | None = None) -> None:
    """Print a table; one of very many rows as plain columns, since rich takes a millisecond for each."""
    if len(rows) <= MANY_ROWS:
        screen.print(as_table(rows, columns))
        return
    padded = []
    for column in columns_of(rows) if columns is None else columns:
        cells = [column, *(_cell(row.get(column)) for row in rows)]
        width = max(map(len, cells))
        numeric = _numeric(rows, column)
        padded.append([cell.rjust(width) if numeric else cell.ljust(width) for cell in cells])
    lines = ("  ".join(cells).rstrip() + "\n" for cells in zip(*padded, strict=True))
    screen.file.write("".join(lines))


def columns_of(rows: Iterable[Row]) -> list[str]:
    """The columns that rows have, in the order in which they first occur."""
    return list(dict.fromkeys(column for row in rows for column in row))


def without_empty_columns(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows without the columns in which every cell is missing."""
    filled = [column for column in columns_of(rows) if any(not _missing(row.get(column)) for row in rows)]
    return [{column: row.get(column) for column in filled} for row in rows]


def _numeric(rows: Iterable[Row], column: str) -> bool:
    """Whether all cells of a column that are there are numbers, and there are some."""
    cells = [row.get(column) for row in rows]
    return {isinstance(cell, int | float) for cell in cells if not _missing(cell)} == {True}


def _missing(cell: Any) -> bool:
    return cell is None or cell != cell


def _cell(value: Any) -> str:
    if _missing(value):
        return ""
    if isinstance(value, float):
        return f"{value:g}" if value.is_integer() else f"{value:.4f}"
    return str(value)
