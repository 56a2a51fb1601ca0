"""What a store holds, found by request, id or name. A folder is opened only once its name fits."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from microtome.store.artifacts.artifact import Artifact, Request, read_artifact
from microtome.store.artifacts.manifest import MANIFEST, read_manifest
from microtome.store.errors import DamagedError, InputError, MicrotomeError, MissingError, StoreError
from microtome.store.files.paths import place, shown, there
from microtome.store.files.removal import check_inside
from microtome.store.identity import SHORT

STAGING = ".staging"
SCRATCH = ".scratch"
ID_DIGITS = re.compile(f"[0-9a-f]{{{SHORT},64}}")
FOLDER = re.compile(f".+-[0-9a-f]{{{SHORT}}}")  # of an artifact


class Catalogue:
    """The artifacts below a root, `<root>/<kind>/<slug>-<id8>/`; nothing outside is read as one of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._told: set[Path] = set()  # damaged folders that a warning was given of

    def find(self, request: Request) -> Artifact | None:
        """The complete artifact of this request, or None."""
        path = self.root / request.kind / request.folder
        if not path.is_symlink() and not path.parent.is_symlink():
            found = self._find_among(request, [path.name])
            if found is not None:
                return found
        return self._find_among(request, self.names(request.kind))

    def find_all(self, requests: Iterable[Request]) -> dict[str, Artifact]:
        """By id, the complete artifacts of those requests that have one; each kind is listed once."""
        listed: dict[str, dict[str, list[str]]] = {}
        found = {}
        for request in requests:
            if request.kind not in listed:
                listed[request.kind] = {}
                for name in self.names(request.kind):
                    listed[request.kind].setdefault(name[-SHORT:], []).append(name)
            artifact = self._find_among(request, listed[request.kind].get(request.id[:SHORT], ()))
            if artifact is not None:
                found[request.id] = artifact
        return found

    def _find_among(self, request: Request, names: Iterable[str]) -> Artifact | None:
        for name in names:  # whatever it is called
            if name.endswith(f"-{request.id[:SHORT]}"):
                found = self.read(request.kind, name)
                if found is not None and found.id == request.id:
                    return found
        return None

    def open(self, reference: str | Path) -> Artifact:
        """An artifact by folder, id (8 digits or more) or readable name; MissingError if there is none.

        InputError if several have this name; StoreError if it is damaged.
        """
        folder = place(reference)
        if str(reference) and there(folder / MANIFEST) and FOLDER.fullmatch(folder.resolve().name):
            return read_artifact(folder)
        found, damaged = [], ""
        for path in self._named(str(reference)):
            try:
                found.append(read_artifact(path))
            except StoreError as error:
                damaged = str(error)
        if ID_DIGITS.fullmatch(str(reference)):
            found = [a for a in found if a.id.startswith(str(reference)) or a.path.name == str(reference)]
        if not found:
            if damaged:
                raise StoreError(damaged)
            raise MissingError(f"no artifact '{shown(reference)}' in {self.root}. See: microtome cache ls")
        _refuse_several(reference, self.root, {artifact.id: artifact.name for artifact in found})
        return found[0]

    def list(self, kind: str | None = None) -> list[Artifact]:
        """Every complete artifact, by kind and name; a line on stderr for each that is damaged."""
        kinds = [name for name in self.kinds() if kind in (None, name)]
        found = [self.read(name, folder) for name in kinds for folder in self.names(name)]
        return [artifact for artifact in found if artifact is not None]

    def locate(self, reference: str | Path) -> Path:
        """The folder `<root>/<kind>/<name>` that a reference means, whether its artifact is damaged or not.

        Raises InputError for a folder that is not in this store, or if several are meant.
        """
        folder = place(reference)
        if there(folder / MANIFEST) or (os.sep in str(reference) and there(folder)):
            return self.own(folder)
        matches = self._named(str(reference))
        if ID_DIGITS.fullmatch(str(reference)):
            matches = [path for path in matches if _may_have_id(path, str(reference))]
        if not matches:
            raise MissingError(f"no artifact '{shown(reference)}' in {self.root}. See: microtome cache ls")
        _refuse_several(
            reference, self.root, {str(path): f"{path.parent.name}/{path.name}" for path in matches}
        )
        return matches[0]

    def damage(self, folder: Path) -> str | None:
        """Why a folder of this store that has a manifest is no artifact; None if it is one, or has none."""
        try:
            _check_kind(read_manifest(folder), folder)
        except DamagedError as error:
            return str(error)
        except StoreError:
            pass  # whether it is damaged is not known
        return None

    def own(self, folder: Path) -> Path:
        """A folder as `<root>/<kind>/<name>`; InputError if that is not where it is."""
        lexical = Path(os.path.abspath(folder))  # noqa: PTH100 - a link at its end must not be followed
        inside = lexical.parent.resolve() / lexical.name
        root = self.root.resolve()
        steps = inside.relative_to(root).parts if inside.is_relative_to(root) else ()
        if len(steps) != 2 or steps[0].startswith(".") or not FOLDER.fullmatch(steps[1]):
            raise InputError(
                f"{folder} is no artifact of the store {self.root}, and nothing else is removed. "
                "See: microtome cache ls"
            )
        check_inside(inside, root)
        return self.root.joinpath(*steps)

    def kinds(self) -> Sequence[str]:
        """The folders that hold artifacts, by name."""
        return _folders(self.root, re.compile(r"[^.].*"))

    def names(self, kind: str) -> Sequence[str]:
        """The folders of a kind that are named as artifacts are."""
        folder = self.root / kind
        return [] if folder.is_symlink() else _folders(folder, FOLDER)

    def _named(self, reference: str) -> Sequence[Path]:
        """The folders of this store with the name `reference`, `<kind>/<name>` or an id; none is opened."""
        kind, _, name = reference.rpartition("/")
        short = name[:SHORT] if ID_DIGITS.fullmatch(reference) else None
        return [
            self.root / known / folder
            for known in self.kinds()
            if kind in ("", known)
            for folder in self.names(known)
            if folder == name or (short is not None and folder.endswith(f"-{short}"))
        ]

    def read(self, kind: str, name: str) -> Artifact | None:
        """The artifact in `<root>/<kind>/<name>`, or None; what is damaged is told of once and left out."""
        path = self.root / kind / name
        try:
            manifest = _check_kind(read_manifest(path), path)
        except StoreError as error:
            if path not in self._told:
                print(f"warning: {_left_out(path, error)}", file=sys.stderr)
                self._told.add(path)
            return None
        return None if manifest is None else Artifact(path, manifest)


def _check_kind(manifest: dict[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    if manifest is not None and manifest["kind"] != folder.parent.name:
        raise DamagedError(f"its manifest says that it is of kind {manifest['kind']}")
    return manifest


def _left_out(path: Path, error: StoreError) -> str:
    """One line about a folder of the store that cannot be used."""
    if not isinstance(error, DamagedError):
        return f"{path} is left out: {error}"
    name = f"{path.parent.name}/{path.name}"
    return f"{name} is damaged and left out: {error}. Remove it: microtome cache rm {name}"


def _may_have_id(folder: Path, digits: str) -> bool:
    """Whether an artifact has an id that begins so, as far as its folder can tell."""
    try:
        return read_artifact(folder).id.startswith(digits)
    except MicrotomeError:
        return folder.name.endswith(f"-{digits[:SHORT]}")


def _refuse_several(reference: str | Path, root: Path, names: Mapping[str, str]) -> None:
    """InputError if a reference means more than one thing; `names` are what to call them instead."""
    if len(names) > 1:
        raise InputError(
            f"'{reference}' is ambiguous in {root}: {', '.join(names.values())}; use a whole id or name"
        )


def _folders(folder: Path, pattern: re.Pattern[str]) -> Sequence[str]:
    """The names of the folders in a folder that match, sorted; symbolic links are none."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if pattern.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror}") from None
    return sorted(names)
