"""`include`: a suite file that says only what differs from another one.

Mappings are merged key by key, everything else is replaced, and null takes a key away that the included suite
has. A list of models is changed like a mapping of models without settings.
An included suite may include another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microtome.jobs.yaml_files import load_yaml
from microtome.store.config import Location
from microtome.store.errors import InputError, unknown
from microtome.store.files.paths import place

SUITES = Path(__file__).parent / "suites"


def suite_names() -> list[str]:
    """The suites that come with microtome."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


@dataclass
class SuiteValues:
    """What a suite file and those that it includes say together; `files` are all of them, itself first, and
    `origins` the file that said a value last, by its keys."""

    values: dict[str, Any]
    files: list[Path]
    origins: dict[Location, Path] = field(default_factory=dict)

    def file_of(self, location: Sequence[int | str]) -> Path:
        """The file that says the value at a location, or what it is in."""
        keys = tuple(location)
        ends = (keys[:length] for length in range(len(keys), 0, -1))
        return next((self.origins[end] for end in ends if end in self.origins), self.files[0])


def suite_file(name_or_path: str, folder: Path | None = None) -> Path:
    """The file of a suite: that of a name, or a path, from `folder` if one is given."""
    if name_or_path.endswith((".yaml", ".yml")):
        return (folder or Path()) / place(name_or_path)
    if name_or_path not in suite_names():
        raise unknown("suite", name_or_path, suite_names(), see="microtome suite ls")
    return SUITES / f"{name_or_path}.yaml"


def suite_description(name: str) -> str:
    """What a suite that comes with microtome says of itself; nothing else of it is checked."""
    return str(read_suite(suite_file(name)).values["description"])


def read_suite(path: Path) -> SuiteValues:
    """A suite file merged with what it includes; InputError, with the file, where an include cannot be read
    or leads back to a file that includes it."""
    return _read(path, ())


def _read(path: Path, including: tuple[Path, ...]) -> SuiteValues:
    values = load_yaml(path, "suite file")
    if "include" not in values:
        return SuiteValues(values, [path], dict.fromkeys(_locations(values), path))
    base = _included(values.pop("include"), path, (*including, path))
    if not isinstance(values.get("name"), str):
        raise InputError(f"{path}: a suite that includes another needs a name of its own")
    for location in _locations(values):
        for inner in [key for key in base.origins if key[: len(location)] == location]:
            if not isinstance(_at(values, location), dict):
                del base.origins[inner]
        base.origins[location] = path
    return SuiteValues(
        _merged(_with_models_by_name(base.values, values), values), [path, *base.files], base.origins
    )


def _included(reference: Any, path: Path, including: tuple[Path, ...]) -> SuiteValues:
    if not isinstance(reference, str) or not reference.strip():
        raise InputError(f"{path}: include takes the name or the file of one suite")
    try:
        file = suite_file(reference, path.parent)
    except InputError as error:
        raise InputError(f"{path}: include: {error}") from None
    if not file.is_file():
        raise InputError(f"{path}: include: no suite file {file}")
    for place_in_chain, other in enumerate(including):
        if file.samefile(other):
            chain = " -> ".join(part.name for part in (*including[place_in_chain:], file))
            raise InputError(f"{path}: include leads back to where it began: {chain}")
    return _read(file, including)


def _with_models_by_name(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    models = base.get("models")
    if isinstance(models, list) and isinstance(changes.get("models"), dict):
        return {**base, "models": {name: {} for name in models}}
    return base


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if value is None and key in base:
            del merged[key]
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merged(base[key], value)
        else:
            merged[key] = value
    return merged


def _locations(values: Mapping[str, Any], above: Location = ()) -> Iterator[Location]:
    """The keys on the way to every value of nested mappings, outer ones first."""
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _locations(value, (*above, key))


def _at(values: Any, location: Location) -> Any:
    for key in location:
        values = values[key]
    return values
