"""What several formats rest on: the rows of a table with a header, JSON Lines, a JSON file, an XML file."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from microtome.jobs.data.readers.opening import reading, text_lines, whole_text
from microtome.store.errors import InputError, unknown

LONGEST_FIELD = 2**31 - 1  # the module's own limit of 128 KiB is below what registries export
LONE_RETURN = re.compile(r"(?<=\r)(?=[^\n])")  # what ends a row in files of old programs
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON writes it; two of them may be one character
Rows = Iterator[tuple[str, dict[str, str]]]
HeaderCheck = Callable[[list[str], str], None]


def tab_rows(path: Path, needs: Sequence[str] = ()) -> Rows:
    """(file and line, column -> cell) of a tab-separated table with a header and no quoting.

    `needs` are the columns that have to be there.
    """
    yield from _rows(path, _cells(path, "\t"), _checks(needs))


def csv_rows(path: Path, needs: Sequence[str] = (), delimiter: str = ",") -> Rows:
    """(file and line, column -> cell) of a CSV file with a header, where quoted cells may hold line ends.

    The line is the first one of the row. Cells are parted by `delimiter`.
    """
    yield from _rows(path, _csv_cells(path, delimiter), _checks(needs))


def table_rows(path: Path, delimiter: str, check: HeaderCheck, *, quoted: bool, header: bool = True) -> Rows:
    """(file and line, column -> cell) of a table. `check` sees the header and its place; without a header the
    columns are called by their numbers, "0" first. A cell may be `quoted` as in CSV."""
    cells = _csv_cells(path, delimiter) if quoted else _cells(path, delimiter)
    yield from _rows(path, cells, check, header=header)


def json_rows(path: Path, *, halves: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and line, object) of JSON Lines; blank lines are passed over. Half a character, which JSON can
    hold and no tokenizer takes, is an InputError unless the caller sees to `halves`."""
    for number, line in text_lines(path, keep_ends=True):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        row = _parsed(line, where, halves)
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected an object, found {type(row).__name__}")
        yield where, row


def read_json(path: Path, *, halves: bool = False) -> Any:
    """What a JSON file holds; `halves` as above."""
    return _parsed(whole_text(path), str(path), halves, lines=True)


def json_objects(path: Path, keyed_by: str) -> dict[str, dict[str, Any]]:
    """A JSON file of objects under their ids."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object keyed by {keyed_by}, found {type(found).__name__}")
    for key, item in found.items():
        if not isinstance(item, dict):
            raise InputError(f"{path}: item {key}: expected an object, found {type(item).__name__}")
    return found


def text_of(value: Any, where: str) -> str:
    """A value that has to be a text."""
    if not isinstance(value, str):
        raise InputError(f"{where}: expected a text, found {_named(value)}")
    return value


def texts_of(value: Any, where: str) -> list[str]:
    """A value that has to be a list of texts."""
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list of texts, found {_named(value)}")
    return [text_of(item, where) for item in value]


def refuse_entities(path: Path) -> None:
    """InputError if a file is not XML, or declares entities: they may grow without bound or name files."""
    parser = expat.ParserCreate()

    def declared(name: str, *_: Any) -> None:
        raise InputError(
            f"{path}:{parser.CurrentLineNumber}: declares the entity '{name}', which is not read"
        )

    parser.EntityDeclHandler = declared
    with reading(path), path.open("rb") as stream:
        try:
            parser.ParseFile(stream)
        except expat.ExpatError as error:
            raise InputError(f"{path}:{error.lineno}: not XML ({expat.ErrorString(error.code)})") from None
        except (LookupError, ValueError) as error:  # of an encoding that Python does not know
            raise InputError(f"{path}:{parser.CurrentLineNumber}: not XML ({error})") from None


def xml_root(path: Path) -> ElementTree.Element:
    """The outermost element of an XML file."""
    refuse_entities(path)
    with reading(path):
        return ElementTree.parse(path).getroot()


def _csv_cells(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST_FIELD)
    lines = (part for _, line in text_lines(path, keep_ends=True) for part in LONE_RETURN.split(line))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = "a quote that never closes" if "unexpected end" in str(error) else error
            raise InputError(f"{path}:{first}: not CSV ({why})") from None
        yield first, cells


def _cells(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split(delimiter)) for number, line in text_lines(path))


def _rows(
    path: Path, lines: Iterable[tuple[int, list[str]]], check: HeaderCheck, *, header: bool = True
) -> Rows:
    names: list[str] = []
    for number, cells in lines:
        if cells in ([], [""]):
            continue
        where = f"{path}:{number}"
        if not names:
            names = cells if header else [str(column) for column in range(len(cells))]
            _refuse_repeated(names, where)
            check(names, where)
            if header:
                continue
        if len(cells) != len(names):
            raise InputError(
                f"{where}: {len(cells)} columns, the {'header' if header else 'first row'} has {len(names)}"
            )
        yield where, dict(zip(names, cells, strict=True))


def _refuse_repeated(header: list[str], where: str) -> None:
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{where}: the header has the column '{name}' {header.count(name)} times")


def _checks(needs: Sequence[str]) -> HeaderCheck:
    def check(header: list[str], where: str) -> None:
        for name in needs:
            if name not in header:
                raise unknown(f"column in {where}", name, header)

    return check


def _parsed(text: str, where: str, halves: bool, lines: bool = False) -> Any:
    """What JSON says, as strictly as its standard; `lines` adds the line of a fault to `where`."""
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if not halves and SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8")
        return found
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}" if lines else where
        raise InputError(f"{place}: not JSON ({error.msg})") from None
    except RecursionError:
        raise InputError(f"{where}: JSON that is nested too deep to read") from None
    except UnicodeEncodeError:
        raise InputError(f"{where}: half a character (a surrogate that stands alone)") from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({str(error).partition(';')[0]})") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!a} twice")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _named(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.40}"
