"""The format of a file, and the settings that its reader needs, from a look at what is in it."""

import gzip
import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microtome.jobs.data.readers.columns import nested_values
from microtome.jobs.data.readers.conll import DOCUMENT_MARKS
from microtome.jobs.data.readers.formats import DELIMITERS
from microtome.jobs.data.readers.opening import encoded_as, reading
from microtome.jobs.data.readers.parquet import named_rows
from microtome.jobs.data.readers.parsing import json_rows, read_json, table_rows, xml_root
from microtome.jobs.tasks.drafting.cells import has_header, quoted_as_csv, width_of
from microtome.jobs.tasks.drafting.columns import OPEN
from microtome.jobs.tasks.drafting.values import Row
from microtome.store.errors import InputError

TAG = re.compile(r"O|[BIESUL](-\S+)?")
LOOKED_AT = 5_000  # lines or rows
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how files of Excel begin, and other zip archives
MOST_FILES = 20_000  # of a corpus in a folder


@dataclass
class Sniffed:
    """`settings` are keys of a task's data; `rows` are those of a table, for its columns to be looked at;
    `type` is the type of task that the format itself says."""

    format: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    type: str | None = None
    remarks: dict[str, str] = field(default_factory=dict)


def sniff(path: Path, wanted: str | None) -> Sniffed:
    """What a file or folder looks like; InputError if it looks like nothing that is read."""
    if path.is_dir():
        return _folder(path, wanted)
    if path.suffix == ".parquet":
        return _parquet(path)
    with reading(path):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    _refuse_other_programs(path, data)
    encoding = _encoding(data)
    text = data.decode(encoding).removeprefix("\ufeff")
    if not text.strip():
        raise InputError(f"{path}: is empty")
    with encoded_as(encoding):
        sniffed = _text(path, text, wanted)
    if encoding != "utf-8":
        sniffed.settings["encoding"] = encoding
        sniffed.remarks["data.encoding"] = "not UTF-8; check that accents and symbols are right"
    return sniffed


def _parquet(path: Path) -> Sniffed:
    rows = [_flattened(row) for row in named_rows(path, LOOKED_AT)]
    if not rows:
        raise InputError(f"{path}: has no rows")
    return Sniffed("parquet", rows=rows)


def _flattened(row: Row) -> dict[str, Any]:
    """A row and what lies in its objects, under the paths by which a task names it."""
    return {**nested_values(row), **row}


def _refuse_other_programs(path: Path, data: bytes) -> None:
    """InputError for files that are no text, where it is known what they are."""
    if data.startswith(WORKBOOKS):
        if path.suffix in (".xlsx", ".xlsm", ".xls", ".ods"):
            raise InputError(f"{path}: is an Excel workbook; save the sheet as CSV")
        raise InputError(f"{path}: is a zip archive, or the file of another program; unpack it first")
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            f"{path}: holds a NUL; this is no text file, or one in UTF-16 without a byte-order mark"
        )


def _encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _text(path: Path, text: str, wanted: str | None) -> Sniffed:
    lines = [line.rstrip("\r") for line in text.split("\n")[:LOOKED_AT]]
    tagged = _conll(lines)  # first: its words may be brackets
    if tagged is not None:
        return tagged
    start = text.lstrip()[:1]
    if start == "<":
        return _xml(path, [path], wanted)
    if start == "{" and path.suffix != ".json":
        return Sniffed("jsonl", rows=[_flattened(row) for _, row in json_rows(path)])
    if start in "[{" and (path.suffix == ".json" or start == "["):
        return _json(path, wanted)
    return _table(path, lines)


def _json(path: Path, wanted: str | None) -> Sniffed:
    value = read_json(path)
    if isinstance(value, dict) and ("passages" in value or "documents" in value or "PubTator3" in value):
        return _standoff("bioc", wanted, "")
    keys: list[str] = []
    while isinstance(value, dict):
        lists = [key for key, inner in value.items() if isinstance(inner, list | dict)]
        if len(lists) != 1:
            raise InputError(
                f"{path}: an object with the keys {', '.join(value)}, none of them alone has a list"
            )
        keys.append(lists[0])
        value = value[lists[0]]
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise InputError(f"{path}: no list of objects in it")
    return Sniffed("json", {"record": ".".join(keys)} if keys else {}, rows=list(map(_flattened, value)))


def _conll(lines: Sequence[str]) -> Sniffed | None:
    words = [line for line in lines if line.strip() and not line.startswith((*DOCUMENT_MARKS, "#"))]
    for delimiter in ("tab", "space"):
        cells = [line.split() if delimiter == "space" else line.split("\t") for line in words]
        width = min((len(row) for row in cells), default=0)
        if width < 2:
            continue
        for column in (-1, *range(1, width - 1)):
            tags = [row[column].strip() for row in cells]
            if all(TAG.fullmatch(tag) for tag in tags) and any(tag != "O" for tag in tags):
                return _conll_settings(lines, cells, tags, column, delimiter)
    return None


def _conll_settings(
    lines: Sequence[str], cells: list[list[str]], tags: list[str], column: int, delimiter: str
) -> Sniffed:
    sniffed = Sniffed("conll", type="ner")
    if delimiter != "tab":
        sniffed.settings["delimiter"] = delimiter
    numbered = all(row[0].isdecimal() for row in cells[:200]) and len(cells[0]) > 2
    if numbered or column != -1:
        sniffed.settings["columns"] = {"words": int(numbered), "label": column}
    scheme = scheme_of(tags)
    if scheme != "iob2":
        sniffed.settings["scheme"] = scheme
    if any(len(tag) == 1 and tag != "O" for tag in tags):
        sniffed.settings["entity"] = "entity"
        sniffed.remarks["data.entity"] = "tags name no type; call it as you like, here and in labels"
    comments = [line for line in lines if line.startswith("#")]
    if comments and len(cells[0]) > 1:
        sniffed.settings["document_mark"] = "#"
        sniffed.remarks["data.document_mark"] = (
            f"lines that begin with # are passed over, such as {comments[0][:40]!r}"
        )
    return sniffed


def scheme_of(tags: Sequence[str]) -> str:
    """The scheme of tags, one sentence after the other."""
    prefixes = {tag[0] for tag in tags}
    if prefixes & {"U", "L"}:
        return "bilou"
    if prefixes & {"S", "E"}:
        return "iobes"
    before = "O"
    orphan = False  # an I that begins an entity; sentences are not told apart, which finds fewer, never more
    for tag in tags:
        orphan = orphan or (tag[0] == "I" and len(tag) > 1 and before[1:] != tag[1:])
        before = tag
    return "iob1" if orphan else "iob2"


def _table(path: Path, lines: Sequence[str]) -> Sniffed:
    best: tuple[int, str, bool] | None = None
    for name in ("tab", "comma", "semicolon", "pipe"):
        for quoted in (False, True):
            if name != "tab" and not quoted:
                continue
            width = width_of(lines[: LOOKED_AT - 1], DELIMITERS[name], quoted)
            if width is not None and width > 1 and (best is None or width > best[0]):
                best = (width, name, quoted)
    if best is None:
        raise InputError(
            f"{path}: looks like no table, no CoNLL, no JSON and no XML; see jobs/tasks/README.md"
        )
    _, name, quoted = best
    sniffed = Sniffed("tsv" if name == "tab" else "csv")
    quoted = quoted or (name == "tab" and quoted_as_csv(lines))
    if name == "tab" and quoted:
        sniffed.settings["quoting"] = "csv"
    if name not in ("tab", "comma"):
        sniffed.settings["delimiter"] = name
    rows = list(table_rows(path, DELIMITERS[name], lambda *_: None, quoted=quoted, header=False))
    if has_header([row for _, row in rows]):
        if len(rows) == 1:
            raise InputError(f"{path}: a header and no rows")
        names = list(rows[0][1].values())
        sniffed.rows = [dict(zip(names, row.values(), strict=True)) for _, row in rows[1:]]
    else:
        sniffed.settings["header"] = False
        sniffed.rows = [row for _, row in rows]
    return sniffed


def _folder(path: Path, wanted: str | None) -> Sniffed:
    inside = list(itertools.islice(path.rglob("*"), MOST_FILES + 1))
    if len(inside) > MOST_FILES:
        raise InputError(
            f"{path}: holds more than {MOST_FILES:,} files; name the folder of the corpus itself"
        )
    files = [file for file in sorted(inside) if file.is_file()]
    endings = Counter(file.suffix for file in files)
    if endings[".ann"] and endings[".txt"]:
        text = "".join(file.read_text("utf-8", "replace") for file in files if file.suffix == ".ann")
        return _standoff("brat", wanted, text)
    if endings[".xml"]:
        return _xml(path, [file for file in files if file.suffix == ".xml"], wanted)
    if endings[".json"]:
        return _json(next(file for file in files if file.suffix == ".json"), wanted)
    raise InputError(f"{path}: a folder without .ann and .txt, .xml or .json files")


def _standoff(form: str, wanted: str | None, annotations: str) -> Sniffed:
    sniffed = Sniffed(form, type=wanted or "ner")
    if wanted == "relation":
        sniffed.settings["annotations"] = "relations"
        kinds = dict(re.findall(r"^(T\S+)\t(\S+) ", annotations, re.MULTILINE))
        pairs = re.findall(r"^R\S+\t\S+ \w+:(\S+) \w+:(\S+)", annotations, re.MULTILINE)
        types = sorted({tuple(sorted((kinds.get(a, OPEN), kinds.get(b, OPEN)))) for a, b in pairs})
        if types:
            sniffed.settings["pairs"] = [list(pair) for pair in types]
            sniffed.remarks["data.pairs"] = "types that are related somewhere in the files"
    elif re.search(r"^R\S+\t", annotations, re.MULTILINE):
        sniffed.remarks["type"] = "there are relations too: --type relation"
    return sniffed


def _xml(path: Path, files: Sequence[Path], wanted: str | None) -> Sniffed:
    for file in files:  # some documents have no pair
        root = xml_root(file)
        if root.tag == "collection" and root.find(".//passage") is not None:
            return _standoff("bioc", wanted, "")
        if (
            root.find(".//sentence/pair[@ddi]") is not None
            and root.find(".//entity[@charOffset]") is not None
        ):
            return Sniffed("ddi", type="relation")
    root = xml_root(files[0])
    counts = Counter(element.tag for element in root.iter() if len(element) or element.attrib)
    counts.pop(root.tag, None)
    if not counts:
        raise InputError(f"{path}: no element in it has parts or attributes that could be a text and a label")
    tag = counts.most_common(1)[0][0]
    record = f".//{tag}"
    rows = [_flat(element) for file in files for element in xml_root(file).iter(tag)]
    sniffed = Sniffed("xml", {"record": record}, rows=rows)
    sniffed.remarks["data.record"] = f"the element that is there most often, {len(rows)} times"
    return sniffed


def _flat(element: ElementTree.Element) -> dict[str, str]:
    """The values of an element by their paths."""
    values = {f"@{name}": value for name, value in element.attrib.items()}
    if (element.text or "").strip():
        values["."] = "".join(element.itertext()).strip()
    for child in element:
        values.setdefault(child.tag, "".join(child.itertext()).strip())
        for name, value in child.attrib.items():
            values.setdefault(f"{child.tag}/@{name}", value)
    return values
