"""Any XML: an element for every example, and paths from it to its texts and its label."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.columns import Column, Columns
from microtome.jobs.data.readers.parsing import xml_root
from microtome.jobs.data.readers.rows import example_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError


def read_xml(path: Path, spec: DataSpec) -> list[Example]:
    """The elements at `record` of a file, or of every *.xml below a folder, in order.

    A column is a path below that element: `title`, `note/text`, `@id`, `note/@lang`, or `.` for its own text.
    Of several elements at one path the first counts; its text is that of all in it.
    """
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    examples: list[Example] = []
    for file in files:
        for number, element in enumerate(_records(file, str(spec.record))):
            where = f"{file}: {spec.record} {number}"
            values = {name: _value(element, name, where) for name in _paths(spec)}
            row = _directly_in(element) | {name: v for name, v in values.items() if v is not None}
            examples.append(example_of(row, spec, len(examples), where))
    if not examples:
        raise InputError(f"{path}: nothing at record '{spec.record}'")
    return examples


def _records(file: Path, record: str) -> list[ElementTree.Element]:
    try:
        return xml_root(file).findall(record)
    except (SyntaxError, KeyError) as error:
        raise InputError(f"record: '{record}' is no path to elements ({error})") from None


def _directly_in(element: ElementTree.Element) -> dict[str, str]:
    """The attributes and children of an element by their paths, for messages that say what there is."""
    children = {child.tag: "".join(child.itertext()).strip() for child in element}
    return {f"@{name}": value for name, value in element.attrib.items()} | children


def _paths(spec: DataSpec) -> list[str]:
    columns: list[Columns] = [*spec.columns.values()]
    names: list[Column] = [name for c in columns for name in (c if isinstance(c, tuple) else (c,))]
    return [str(name) for name in names]


def _value(element: ElementTree.Element, path: str, where: str) -> str | None:
    inner, at, attribute = path.rpartition("@")
    place = inner.rstrip("/") if at else path
    try:
        at_place = element if place in ("", ".") else element.find(place)
    except (SyntaxError, KeyError) as error:
        raise InputError(f"{where}: '{path}' is no path to an element ({error})") from None
    if at_place is None:
        return None
    return at_place.get(attribute) if at else "".join(at_place.itertext()).strip()
