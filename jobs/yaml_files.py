"""YAML of suites, tasks and options: plain values only, and each mistake in one line with its place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.composer import Composer
from yaml.constructor import ConstructorError

from microtome.store.config import Location
from microtome.store.errors import InputError, MissingError

DEEPEST = 40  # of values in values; no setting is deeper than ten
MOST_VALUES = 100_000  # with what aliases repeat: a few lines can stand for billions
NOT_PLAIN = ("binary", "set", "omap", "pairs")


class _Plain(Composer, yaml.CSafeLoader):
    """Null, truth values, numbers, text, lists and mappings; a date is text.

    libyaml reads the text; nodes are composed here, as its own composer runs out of stack where values are
    nested deep.
    """

    depth = 0

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        Composer.__init__(self)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise RecursionError  # long before Python's own, as the scanner is slow where it is deep
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def as_it_stands(self, node: yaml.ScalarNode) -> str:
        return str(self.construct_scalar(node))

    def refused(self, node: yaml.Node) -> NoReturn:
        raise ConstructorError(None, None, f"{node.tag} is no plain value", node.start_mark)


_Plain.add_constructor("tag:yaml.org,2002:timestamp", _Plain.as_it_stands)
for _kind in NOT_PLAIN:
    _Plain.add_constructor(f"tag:yaml.org,2002:{_kind}", _Plain.refused)


@dataclass(frozen=True)
class YamlFile:
    """The mapping in a YAML file, and the line of each of its values by the keys that lead to it."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[Location, int]

    def value(self, location: Location) -> Any:
        """The value at a location, or None."""
        value: Any = self.values
        for key in location:
            inside = isinstance(value, dict) and key in value
            inside = inside or (isinstance(value, list) and isinstance(key, int) and key < len(value))
            value = value[key] if inside else None
        return value

    def place(self, location: Location) -> str:
        """File and line of the value at a location, or of what it would stand in."""
        ends = (tuple(location[:length]) for length in range(len(location), -1, -1))
        line = next((self.lines[end] for end in ends if end in self.lines), 1)
        return f"{self.path}:{line}"


def load_yaml(path: Path, what: str = "file") -> dict[str, Any]:
    """The mapping in a YAML file, `what` it is called; an InputError says where the file goes wrong."""
    return read_yaml(path, what).values


def read_yaml(path: Path, what: str = "file") -> YamlFile:
    """The same, with the lines of its values."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingError(f"no {what} {path}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 (byte 0x{data[error.start]:02x})") from None
    values, root = _parsed(text, str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values, found {_named(values)}")
    return YamlFile(path, values, dict(_lines(root, ())))


def parse_yaml(text: str, where: str) -> Any:
    """The value that a YAML text stands for. InputError, which says `where` and in which line, for what is no
    YAML or no plain value, for a key that is given twice, and for what is nested too deep."""
    return _parsed(text, where)[0]


def _parsed(text: str, where: str) -> tuple[Any, yaml.Node | None]:
    """The value, and the node that it was made from; an empty text has none."""
    try:
        loader = _Plain(text)
        root = loader.get_single_node()
        if root is None:
            return None, None
        _Checked(where).size(root)
        return loader.construct_document(root), root
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise InputError(f"{where}:{line}: not YAML (character 0x{error.character:02x})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InputError(f"{where}:{line}: not YAML ({error.problem or error.context})") from None
    except RecursionError:
        raise _too_deep(where) from None
    except (ValueError, LookupError, OverflowError) as error:  # what a tag such as !!int finds in its text
        raise InputError(f"{where}: not YAML ({error})") from None


def _lines(node: yaml.Node | None, location: Location) -> Iterator[tuple[Location, int]]:
    """(keys, line from 1) of a value and of what is in it; a value in a mapping has the line of its key."""
    if node is None:
        return
    if not location:
        yield location, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, key.value)
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            inner = (*location, number)
            yield inner, value.start_mark.line + 1
            yield from _lines(value, inner)


class _Checked:
    """Walks the nodes of a document before values are made of them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._sizes: dict[int, tuple[int, int]] = {}
        self._around: set[int] = set()

    def size(self, node: yaml.Node) -> tuple[int, int]:
        """How many values a node stands for, aliases followed, and how deep they are nested."""
        if id(node) in self._around:
            raise InputError(f"{self._place(node)}: a value that holds itself")
        if id(node) not in self._sizes:
            self._around.add(id(node))
            self._sizes[id(node)] = self._measured(node)
            self._around.discard(id(node))
        return self._sizes[id(node)]

    def _measured(self, node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.MappingNode):
            self._refuse_repeated_keys(node)
            inside = [self.size(value) for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            inside = [self.size(value) for value in node.value]
        else:
            inside = []
        count = 1 + sum(values for values, _ in inside)
        depth = 1 + max((deep for _, deep in inside), default=0)
        if depth > DEEPEST:
            raise _too_deep(self._where)
        if count > MOST_VALUES:
            raise InputError(f"{self._place(node)}: stands for more than {MOST_VALUES:,} values")
        return count, depth

    def _refuse_repeated_keys(self, node: yaml.MappingNode) -> None:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{self._place(key)}: a key must be text")
            name = key.tag, key.value
            line = key.start_mark.line + 1
            if name in lines:
                raise InputError(
                    f"{self._where}:{line}: key '{key.value}' is given twice, first in line {lines[name]}"
                )
            lines[name] = line

    def _place(self, node: yaml.Node) -> str:
        return f"{self._where}:{node.start_mark.line + 1}"


def _too_deep(where: str) -> InputError:
    return InputError(f"{where}: values are nested more than {DEEPEST} deep")


def _named(value: Any) -> str:
    if value is None:
        return "nothing"
    return "a list" if isinstance(value, list) else "a single value"
