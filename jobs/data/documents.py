"""Formats of text corpora: a file, or a dataset on the hub, to the texts of its documents, one at a time."""

import re
import xml.etree.ElementTree
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microtome.jobs.data.readers.opening import reading, text_lines
from microtome.jobs.data.readers.parsing import csv_rows, json_rows, read_json, refuse_entities
from microtome.jobs.hub import offline
from microtome.store.errors import InputError, MicrotomeError, MissingError, model_packages, unknown
from microtome.store.files.paths import place

HUB_FILES = {"parquet", "json", "csv", "text", "arrow"}  # what else `datasets` reads may be pickled
HUB_CACHE = "cache"  # what `datasets` has kept of an earlier download, as Arrow files
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: JSON can hold it, no tokenizer takes it


def plain_text(path: Path, separator: str, fallback: str | None) -> Iterator[str]:
    """A document per file, line or paragraph, as `separator` says; not UTF-8 is read as `fallback`."""
    with reading(path):
        try:
            with path.open(encoding=_encoding(path, fallback)) as stream:
                yield from [stream.read()] if separator == "none" else _parts(stream, separator)
        except UnicodeDecodeError:
            hint = f" nor {fallback}" if fallback else "; set fallback_encoding to latin-1 or cp1252"
            raise InputError(f"{_not_utf8(path)}{hint}") from None


def _not_utf8(path: Path) -> str:
    """What is said of a file that is not UTF-8, with its line."""
    try:
        for _ in text_lines(path, keep_ends=True):
            pass
    except InputError as error:
        return str(error)
    return f"{path}: not UTF-8"


def _encoding(path: Path, fallback: str | None) -> str:
    """UTF-8 unless the file is something else and a fallback is named; that takes a look at all of it."""
    if fallback is not None:
        try:
            with path.open(encoding="utf-8") as stream:
                while stream.read(1 << 20):
                    pass
        except UnicodeDecodeError:
            return fallback
    return "utf-8-sig"


def _parts(lines: Iterable[str], separator: str) -> Iterator[str]:
    part: list[str] = []
    for line in lines:
        if line.strip():
            part.append(line)
        if part and (separator == "line" or not line.strip()):
            yield "".join(part).rstrip("\n")
            part = []
    yield "".join(part).rstrip("\n")


def json_lines(path: Path, columns: Sequence[str]) -> Iterator[str]:
    """A document per line that holds an object with these keys."""
    for where, row in json_rows(path, halves=True):
        yield _joined(row, columns, where)


def csv_table(path: Path, columns: Sequence[str]) -> Iterator[str]:
    """A document per row of a CSV file with a header; quoted cells may hold line ends."""
    for where, row in csv_rows(path, needs=columns):
        yield _joined(row, columns, where)


def questions(path: Path) -> Iterator[str]:
    """A question and its answer per document; those without an answer are left out."""
    refuse_entities(path)
    with reading(path), path.open("rb") as stream:
        try:
            for _, element in xml.etree.ElementTree.iterparse(stream):
                if element.tag != "QAPair":
                    continue
                question, answer = (_content(element.find(name)) for name in ("Question", "Answer"))
                if question and answer:
                    yield f"{question}\n{answer}"
                element.clear()
        except xml.etree.ElementTree.ParseError as error:
            raise InputError(f"{path}:{error.position[0]}: not XML ({error.msg})") from None


def _content(element: xml.etree.ElementTree.Element | None) -> str:
    return "" if element is None else "".join(element.itertext()).strip()


def abstracts(path: Path) -> Iterator[str]:
    """Title and abstract per document, from lines of id, title and abstract without header or quoting."""
    for number, line in text_lines(path):
        cells = line.split("\t")
        if cells == [""]:
            continue
        if len(cells) != 3:
            raise InputError(f"{path}:{number}: {len(cells)} columns, expected id, title and abstract")
        yield "\n".join(cell for cell in cells[1:] if cell.strip())


def trials(path: Path) -> Iterator[str]:
    """Brief summary and detailed description per trial, from what the registry's API gives."""
    found = read_json(path, halves=True)
    if isinstance(found, dict):
        found = found.get("studies", [found])
    if not isinstance(found, list):
        raise InputError(f"{path}: expected a list of trials, found {type(found).__name__}")
    for number, record in enumerate(found):
        where = f"{path}: record {number}"
        try:
            texts = record["protocolSection"].get("descriptionModule") or {}
        except (KeyError, TypeError, AttributeError):
            raise InputError(f"{where}: no protocolSection") from None
        names = [name for name in ("briefSummary", "detailedDescription") if name in texts]
        yield _joined(texts, names, where)


def hub_rows(
    hub: str, config: str | None, revision: str | None, split: str, columns: Sequence[str]
) -> Iterator[str]:
    """A document per row of a dataset on the hub, or of a folder in its layout; rows are streamed.

    Nothing that comes is run or unpickled. MissingError if the dataset is not there or cannot be reached,
    InputError if it has no such split, configuration or column.
    """
    where = f"dataset '{hub}'"
    with model_packages(where):
        import datasets
    with _asking(where):
        builder = datasets.load_dataset_builder(str(place(hub)), config, revision=revision)
        if builder.name not in {*HUB_FILES, HUB_CACHE}:
            raise InputError(
                f"{where}: has {builder.name} files; only {', '.join(sorted(HUB_FILES))} are read"
            )
        rows = builder.as_streaming_dataset(split=split)
        for number, row in enumerate(rows):
            yield _joined(row, columns, f"{where}: row {number}")


@contextmanager
def _asking(where: str) -> Iterator[None]:
    """Turn what can go wrong with a dataset into one line about it."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    try:
        yield
    except MicrotomeError:
        raise
    except (ConnectionError, DatasetNotFoundError) as error:
        if offline():
            raise MissingError(f"{where} is not on this machine and HF_HUB_OFFLINE is set") from None
        if isinstance(error, ConnectionError):
            raise MissingError(f"{where}: the hub could not be reached ({_first_line(error)})") from None
        reason = "does not exist on the hub, needs an agreement on its page, or is private (set HF_TOKEN)"
        raise MissingError(f"{where} {reason}") from None
    except (ValueError, RuntimeError, DatasetsError) as error:
        raise InputError(f"{where}: {_first_line(error)}") from None
    except Exception as error:
        raise MissingError(f"{where}: could not be read ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]


def _joined(row: Mapping[str, Any], columns: Sequence[str], where: str) -> str:
    """The texts of the columns, with a blank line between; an absent text is left out."""
    texts = []
    for column in columns:
        if column not in row:
            raise unknown(f"column in {where}", column, row)
        value = row[column]
        if not isinstance(value, str | None):
            raise InputError(f"{where}: '{column}' holds {type(value).__name__}, not text")
        if value and value.strip():
            texts.append(SURROGATE.sub("\ufffd", value))
    return "\n\n".join(texts)
