"""Tab-separated tables with a header: SICK and its like unquoted, the MedNLI of BLUE quoted as CSV is."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import csv_rows, tab_rows
from microtome.jobs.data.readers.spec import DataSpec, pair_or_text


def read_tsv(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order; line ends may be LF or CRLF. A double quote is a character like any other unless the
    spec says `quoting: csv`: then a cell may be quoted, with the quotes in it doubled."""
    needs = spec.needed_columns
    rows = csv_rows(path, needs, "\t") if spec.quoting == "csv" else tab_rows(path, needs)
    return [pair_or_text(row, spec, number, where) for number, (where, row) in enumerate(rows)]
