"""What the lines of a table look like: how wide they are, how they are quoted, whether one is a header."""

import csv
import re
from collections.abc import Sequence

QUOTED = re.compile(r'"(?:[^"]|"")*"')


def quoted_as_csv(lines: Sequence[str]) -> bool:
    """Whether a spreadsheet has put the quotes of a tab-separated table around its cells: each cell that
    begins with one is quoted as in CSV, and some hold doubled quotes, or all but numbers are quoted."""
    cells = [cell for line in lines if line.strip() for cell in line.split("\t")]
    begun = [cell for cell in cells if cell.startswith('"')]
    if not begun or not all(QUOTED.fullmatch(cell) for cell in begun):
        return False
    doubled = any('""' in cell[1:-1] for cell in begun)
    return doubled or all(cell.startswith('"') or _numeric(cell) for cell in cells if cell)


def width_of(lines: Sequence[str], delimiter: str, quoted: bool) -> int | None:
    """How many cells every row has, or nothing where rows differ."""
    kept = [line for line in lines if line.strip()]
    if quoted:
        try:
            widths = {len(row) for row in csv.reader(kept, delimiter=delimiter, strict=True)}
        except csv.Error:
            return None
    else:
        widths = {line.count(delimiter) + 1 for line in kept}
    return widths.pop() if len(widths) == 1 else None


def has_header(rows: Sequence[dict[str, str]]) -> bool:
    """Whether the first row is none of the data: short, different words that no column has as a value."""
    first = list(rows[0].values())
    names = all(cell.strip() and len(cell.split()) <= 4 and not _numeric(cell) for cell in first)
    if not names or len(set(first)) < len(first):
        return False
    return not any(row[column] == name for row in rows[1:] for column, name in rows[0].items())


def _numeric(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", cell.strip()) is not None
