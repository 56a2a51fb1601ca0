"""Tab-separated tables with a header and no quoting: SICK and its like."""

from pathlib import Path

from jobs.data.examples import Example
from jobs.data.readers.parsing import tab_rows
from jobs.data.readers.spec import DataSpec, pair_or_text


def read_tsv(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order. A double quote is a character like any other; line ends may be LF or CRLF."""
    return [pair_or_text(row, spec, number, where) for number, (where, row) in enumerate(tab_rows(path))]
