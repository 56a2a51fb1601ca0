"""One reader per file format. A reader takes a file and a DataSpec and gives examples in file order.

A file that is not what the format says is an InputError with file, line and what was found.
"""

from collections.abc import Callable
from pathlib import Path

from jobs.data.examples import Example
from jobs.data.readers.conll import read_conll
from jobs.data.readers.jsonl import read_jsonl
from jobs.data.readers.nli4ct import read_nli4ct
from jobs.data.readers.parquet import read_parquet
from jobs.data.readers.spec import DataSpec
from jobs.data.readers.tsv import read_tsv
from jobs.demo.reader import read_synthetic

Reader = Callable[[Path, DataSpec], list[Example]]

READERS: dict[str, Reader] = {
    "conll": read_conll,
    "jsonl": read_jsonl,
    "nli4ct": read_nli4ct,
    "parquet": read_parquet,
    "synthetic": read_synthetic,
    "tsv": read_tsv,
}
