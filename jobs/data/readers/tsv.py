"""Tables of text: tab-separated, comma-separated and their like, with or without a header."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.columns import columns_of
from microtome.jobs.data.readers.formats import DELIMITERS
from microtome.jobs.data.readers.parsing import table_rows
from microtome.jobs.data.readers.rows import example_of
from microtome.jobs.data.readers.spec import DataSpec


def read_tsv(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order; line ends may be LF or CRLF. A double quote is a character like any other unless the
    spec says `quoting: csv`: then a cell may be quoted, with the quotes in it doubled."""
    return _examples(path, spec, spec.delimiter or "tab", quoted=spec.quoting == "csv")


def read_csv(path: Path, spec: DataSpec) -> list[Example]:
    """The same with commas, or another delimiter, where any cell may be quoted and hold line ends."""
    return _examples(path, spec, spec.delimiter or "comma", quoted=True)


def _examples(path: Path, spec: DataSpec, delimiter: str, *, quoted: bool) -> list[Example]:
    columns: dict[str, str] = {}

    def check(header: list[str], where: str) -> None:
        columns.update(columns_of(spec.columns, header, where, labelled=spec.labelled))

    rows = table_rows(path, DELIMITERS[delimiter], check, quoted=quoted, header=spec.header)
    return [example_of(row, spec, number, where, columns) for number, (where, row) in enumerate(rows)]
