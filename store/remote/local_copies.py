"""Copies of remote files on a local disk, up to a stated size: what was used longest ago is forgotten.

<folder>/address.json                           the address that these are copies of
<folder>/<kind>/<name>/manifest.json            of every artifact that was looked at; never forgotten
<folder>/<kind>/<name>/<file>                   files that were needed whole
<folder>/<kind>/<name>/.layers/<checksum>       layers of caches that were read
"""

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from microtome.store.errors import InputError, StoreError
from microtome.store.files.checksums import FileRecord, checksum
from microtome.store.files.operations import TEMPORARY, write_json
from microtome.store.files.removal import remove
from microtome.store.remote.objects import Objects
from microtome.store.remote.transfer import FileTransfer, file_key, is_here, receive, receive_checked

ADDRESS_FILE = "address.json"
LAYERS = ".layers"
MANIFEST_FILE = "manifest.json"
SIZE_VARIABLE = "MICROTOME_LOCAL_GB"
DEFAULT_GB = 50.0


def stated_size() -> int:
    """Bytes that copies may take, from `MICROTOME_LOCAL_GB`."""
    written = os.environ.get(SIZE_VARIABLE) or str(DEFAULT_GB)
    try:
        size = float(written)
    except ValueError:
        size = -1.0
    if not 0 < size < float("inf"):
        raise InputError(f"{SIZE_VARIABLE} is '{written}'; set it to a number of gigabytes, such as 50")
    return int(size * 1e9)


@dataclass(frozen=True)
class LayerRange:
    """Where a layer of a part lies: `length` bytes from `start` on of a file of the artifact."""

    file: str
    start: int
    length: int
    checksum: str


class LocalCopies:
    """The folder of copies, which any number of processes may use."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def note(self, address: str) -> None:
        """Make the folder, and note what these are copies of."""
        if not (self.folder / ADDRESS_FILE).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / ADDRESS_FILE, {"address": address})

    def make_room(self, spare: Collection[Path]) -> None:
        """Forget what was used longest ago until the rest fits; `spare` has just come and stays."""
        ages, total = [], 0
        for path in self.folder.glob("*/*/**/*"):
            with contextlib.suppress(OSError):  # another process is forgetting too
                status = path.lstat()
                if path.is_file() and path.name != MANIFEST_FILE and not path.name.endswith(TEMPORARY):
                    total += status.st_size
                    ages.append((status.st_mtime_ns, path, status.st_size))
        kept = set(spare)
        for _, path, size in sorted(ages):
            if total <= self.limit:
                return
            if path not in kept:
                with contextlib.suppress(OSError):
                    remove(path, inside=self.folder)
                total -= size


class RemoteFiles:
    """The files of one remote artifact, `<kind>/<folder>`: fetched when they are needed, and not before."""

    def __init__(
        self, objects: Objects, copies: LocalCopies, name: str, files: Mapping[str, FileRecord]
    ) -> None:
        self._objects, self._copies, self._name, self._files = objects, copies, name, files
        self._folder = copies.folder / name
        self._checked: set[str] = set()  # layers and files that this object has read whole

    def fetch(self, files: Sequence[str]) -> None:
        """See to it that files are here, whole and as they were sent."""
        wanted = [
            FileTransfer(
                file_key(self._name, file, self._files[file]), self._folder / file, self._files[file]
            )
            for file in files
        ]
        missing = [file for file in wanted if file.key not in self._checked and not is_here(file)]
        with self._written():
            receive(self._objects, missing)
        self._checked |= {file.key for file in wanted}
        self._used([file.path for file in wanted], new=bool(missing))

    def fetch_layer(self, layer: LayerRange) -> Path:
        """A file that holds a layer, and nothing else."""
        path = self._folder / LAYERS / layer.checksum
        if path.exists() and (layer.checksum in self._checked or checksum(path) == layer.checksum):
            new = False
        else:
            key = file_key(self._name, layer.file, self._files[layer.file])
            with self._written():
                receive_checked(self._objects, key, layer.start, layer.length, path, layer.checksum)
            new = True
        self._checked.add(layer.checksum)
        self._used([path], new=new)
        return path

    def _used(self, paths: Sequence[Path], *, new: bool) -> None:
        for path in paths:
            with contextlib.suppress(OSError):  # a folder that is only read
                os.utime(path)
        if new:
            self._copies.make_room(paths)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """A local disk that is full or read-only, in one line."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot keep a copy in {self._copies.folder}: {error.strerror}. Set MICROTOME_SCRATCH to a "
                f"folder with room, or {SIZE_VARIABLE} to less"
            ) from None


def noted_address(folder: Path) -> str | None:
    """What the folder of copies holds copies of; None if it is no such folder."""
    try:
        return str(json.loads((folder / ADDRESS_FILE).read_bytes())["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
