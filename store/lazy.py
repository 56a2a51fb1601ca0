"""What is imported when it is used, and not before: one line of a table instead of an import statement."""

import inspect
import pkgutil
from collections import UserDict
from dataclasses import dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True)
class LazyImport:
    """Where something is, as `package.module:name`, and one line about it that can be read without it."""

    where: str
    about: str = ""

    def load(self) -> Any:
        """Import the module and return what the name stands for."""
        return pkgutil.resolve_name(self.where)


class LazyTable(UserDict[str, T]):
    """A registry by name. Its names and the lines about them cost nothing; looking an entry up imports it.

    An entry is a LazyImport, or the thing itself.
    """

    def __init__(self, entries: dict[str, T | LazyImport]) -> None:
        super().__init__(cast(dict[str, T], entries))

    def __getitem__(self, name: str) -> T:
        entry: Any = self.data[name]
        return entry.load() if isinstance(entry, LazyImport) else entry

    def about(self, name: str) -> str:
        """One line about an entry; of the thing itself, the first line of its docstring."""
        entry: Any = self.data[name]
        if isinstance(entry, LazyImport):
            return entry.about
        return (inspect.getdoc(entry) or "").partition("\n")[0]
