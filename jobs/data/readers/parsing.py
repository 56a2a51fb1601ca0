"""What several formats rest on: the rows of a table with a header, JSON Lines, and a JSON file."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.data.readers.spec import reading
from store.errors import InputError, unknown

LONGEST_FIELD = 2**31 - 1  # the module's own limit of 128 KiB is below what registries export
Rows = Iterator[tuple[str, dict[str, str]]]


def tab_rows(path: Path, needs: Sequence[str] = ()) -> Rows:
    """(file and line, column -> cell) of a tab-separated table with a header and no quoting.

    `needs` are the columns that have to be there. Line ends may be LF or CRLF.
    """
    with reading(path), path.open(encoding="utf-8", newline="\n") as lines:
        cells = (line.rstrip("\r\n").split("\t") for line in lines)
        yield from _rows(path, enumerate(cells, start=1), needs)


def csv_rows(path: Path, needs: Sequence[str] = (), delimiter: str = ",") -> Rows:
    """(file and line, column -> cell) of a CSV file with a header, where quoted cells may hold line ends.

    The line is the last one of the row. Cells are parted by `delimiter`.
    """
    csv.field_size_limit(LONGEST_FIELD)
    with reading(path), path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            yield from _rows(path, ((reader.line_num, cells) for cells in reader), needs)
        except csv.Error as error:
            raise InputError(f"{path}:{reader.line_num}: not CSV ({error})") from None


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and line, object) of JSON Lines; blank lines are passed over."""
    with reading(path), path.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{where}: not JSON ({error.msg})") from None
            if not isinstance(row, dict):
                raise InputError(f"{where}: expected an object, found {type(row).__name__}")
            yield where, row


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    with reading(path):
        try:
            return json.loads(path.read_text("utf-8"))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None


def _rows(path: Path, lines: Iterable[tuple[int, list[str]]], needs: Sequence[str]) -> Rows:
    header: list[str] = []
    for number, cells in lines:
        if cells in ([], [""]):
            continue
        if not header:
            header = cells
            for name in needs:
                if name not in header:
                    raise unknown(f"column in {path}", name, header)
            continue
        where = f"{path}:{number}"
        if len(cells) != len(header):
            raise InputError(f"{where}: {len(cells)} columns, the header has {len(header)}")
        yield where, dict(zip(header, cells, strict=True))
