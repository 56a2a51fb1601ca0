"""Tab-separated tables with a header and no quoting: SICK and its like."""

from pathlib import Path

from jobs.data.examples import Example
from jobs.data.readers.spec import DataSpec, pair_or_text, reading
from store.errors import InputError


def read_tsv(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order. A double quote is a character like any other; line ends may be LF or CRLF."""
    examples: list[Example] = []
    with reading(path), path.open(encoding="utf-8", newline="\n") as lines:
        header = next(lines, "").rstrip("\r\n").split("\t")
        for number, line in enumerate(lines, start=2):
            cells = line.rstrip("\r\n").split("\t")
            if cells == [""]:
                continue
            where = f"{path}:{number}"
            if len(cells) != len(header):
                raise InputError(f"{where}: {len(cells)} columns, the header has {len(header)}")
            row = dict(zip(header, cells, strict=True))
            examples.append(pair_or_text(row, spec, len(examples), where))
    return examples
