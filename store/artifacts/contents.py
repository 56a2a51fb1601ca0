"""The files of an artifact: the one way to read them, which never gives what was not written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from microtome.store.artifacts.manifest import MANIFEST
from microtome.store.errors import StoreError
from microtome.store.files.checksums import FileRecord, Stamp, checksum, checksum_of, stamp
from microtome.store.remote.local_copies import LAYERS, RemoteFiles

_CHECKED: set[tuple[Stamp, str]] = set()  # files that this process has read whole and found right


@dataclass(frozen=True)
class Contents:
    """The files in the folder of an artifact; `files` is what its manifest says of them.

    Whatever is asked for has been compared with the manifest: its existence and size always, its checksum
    where it is read whole. StoreError names artifact and file, and what to do. Files that are `remote` come
    into the folder when they are asked for.
    """

    folder: Path
    name: str  # of the artifact
    id: str
    files: Mapping[str, FileRecord]
    remote: RemoteFiles | None = None

    def has(self, name: str) -> bool:
        """Whether the artifact was made with this file, or with files in this folder."""
        return name in self.files or any(file.startswith(f"{name}/") for file in self.files)

    def read(self, name: str) -> bytes:
        """A whole file."""
        self._stamp(name)
        try:
            raw = (self.folder / name).read_bytes()
        except OSError as error:
            raise self.error(name, f"cannot be read ({error.strerror})") from None
        if checksum_of(raw) != self.files[name]["checksum"]:
            raise self.error(name, "differs from its checksum")
        return raw

    def path(self, name: str, *, unread: tuple[str, ...] = ()) -> Path:
        """Where a file or a folder is that another library will read whole, but for what ends in `unread`."""
        files = [name] if name in self.files else self._below(name)
        if self.remote is not None:
            self.remote.fetch([file for file in files if not file.endswith(unread)])
            return self.folder / name
        for file in files:
            self._stamp(file) if file.endswith(unread) else self._check(file)
        return self.folder / name

    def location(self, file: str) -> Path:
        """Where a file is, if the artifact has it; it is not compared with anything."""
        if self.remote is not None and file in self.files:
            self.remote.fetch([file])
        return self.folder / file

    def stamps(self, name: str) -> tuple[Stamp, ...]:
        """Of a file, or of all files below a folder."""
        files = [name] if name in self.files else self._below(name)
        if self.remote is not None:
            self.remote.fetch(files)
        return tuple(self._stamp(file) for file in files)

    def check_sizes(self) -> None:
        """StoreError for the first file that is missing or of another size. Cheap: nothing is read. Remote
        files were all there before their manifest was."""
        for file in self.files if self.remote is None else ():
            self._stamp(file)

    def faults(self) -> Iterator[tuple[str, str]]:
        """(file, what is wrong) for every file that is not as it was written. Everything is read."""
        for file in self.files:
            found = self._looked_up(file)
            reason = found if isinstance(found, str) else self._unequal(file)
            if reason:
                yield file, reason

    def strays(self) -> Iterator[str]:
        """Files that are in the folder and not of the artifact."""
        for path in sorted(p for p in self.folder.rglob("*") if not p.is_dir() or p.is_symlink()):
            file = path.relative_to(self.folder).as_posix()
            if file not in self.files and file != MANIFEST and not file.startswith(f"{LAYERS}/"):
                yield file

    def error(self, file: str, reason: str) -> StoreError:
        """What a user is told of a file that cannot be used."""
        return StoreError(f"{self.name}: {file} {reason}. {self.remedy}")

    @property
    def remedy(self) -> str:
        """What mends an artifact."""
        return f"Remove it and run its job again: microtome cache rm {self.id[:8]}"

    def _below(self, folder: str) -> list[str]:
        found = [file for file in self.files if file.startswith(f"{folder}/")]
        if not found:
            raise self.error(folder, "is no part of this artifact")
        return found

    def _stamp(self, file: str) -> Stamp:
        if file not in self.files:
            raise self.error(file, "is no part of this artifact")
        found = self._looked_up(file)
        if isinstance(found, str):
            raise self.error(file, found)
        return found

    def _looked_up(self, file: str) -> Stamp | str:
        """Its stamp, or what is wrong with its size."""
        if self.remote is not None:
            self.remote.fetch([file])
        try:
            found = (self.folder / file).stat()
        except OSError:
            return "is missing"
        wanted = self.files[file]["bytes"]
        return stamp(found) if found.st_size == wanted else f"has {found.st_size} bytes, not {wanted}"

    def _check(self, file: str) -> None:
        """StoreError if a file is not as it was written; read once per process."""
        seen = self._stamp(file), self.files[file]["checksum"]
        if seen not in _CHECKED:
            reason = self._unequal(file)
            if reason:
                raise self.error(file, reason)
            _CHECKED.add(seen)

    def _unequal(self, file: str) -> str:
        try:
            equal = checksum(self.folder / file) == self.files[file]["checksum"]
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return "" if equal else "differs from its checksum"
