"""A store on object storage.

artifacts/<kind>/<folder>/manifest.json    written last; an artifact is there if and only if this is
files/<kind>/<folder>/<checksum>/<file>    its files, and of one in the making what is finished
progress/<kind>/<folder>.json              which of them a job needs to go on
claims/<kind>/<folder>.json                who makes it
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path

from microtome.store.errors import StoreError
from microtome.store.files.checksums import FileRecord
from microtome.store.files.permissions import PRIVATE_FOLDER
from microtome.store.remote.claims import Claims, new_holder
from microtome.store.remote.local_copies import (
    MANIFEST_FILE,
    LocalCopies,
    RemoteFiles,
    noted_address,
    stated_size,
)
from microtome.store.remote.objects import PARALLEL, Objects
from microtome.store.remote.transfer import Say, files_prefix, receive, records, send

ARTIFACTS = "artifacts"
COPIES = ".remote"  # the folder of copies, below that of a store
HOLDER = ".holder"  # the name of this scratch folder in claims
FORMAT_KEY = "store.json"
FORMAT = 1
SOURCES_KEY = "sources.json"


class Remote:
    """The artifacts at an address, each called `<kind>/<folder>`; `root` is the local folder to work in."""

    def __init__(self, objects: Objects, root: Path) -> None:
        self.objects, self.root = objects, root
        self.copies = LocalCopies(root / COPIES, stated_size())
        self._listed: set[str] | None = None

    @property
    def address(self) -> str:
        return self.objects.address

    @cached_property
    def claims(self) -> Claims:
        """Claims, as this scratch folder sees them."""
        path = self.root / HOLDER
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x") as stream:
                stream.write(new_holder())
        except FileExistsError:
            pass
        return Claims(self.objects, path.read_text() or new_holder())

    def check(self) -> None:
        """RemoteError in one line if nothing can be written or read there."""
        form = json.dumps({"format": FORMAT}, allow_nan=False).encode()
        if self.objects.put_new(FORMAT_KEY, form) is None:
            written = self.objects.get(FORMAT_KEY)
            try:
                newer = written is not None and int(json.loads(written[0])["format"]) > FORMAT
            except (ValueError, KeyError, TypeError):
                newer = True
            if newer:
                raise StoreError(f"the store {self.address} has another format; update microtome")

    def remember(self, identities: Mapping[str, str]) -> None:
        """Note identities by name, beside those that other machines have noted."""
        while True:
            there = self.objects.get(SOURCES_KEY)
            before = {} if there is None else _names_and_identities(there[0], self.address)
            after = before | dict(identities)
            content = json.dumps(dict(sorted(after.items())), allow_nan=False).encode()
            if after == before:
                return
            if there is None:
                written = self.objects.put_new(SOURCES_KEY, content)
            else:
                written = self.objects.put_unchanged(SOURCES_KEY, content, there[1])
            if written is not None:
                return

    def remembered(self) -> dict[str, str]:
        """What `remember` noted, by name."""
        there = self.objects.get(SOURCES_KEY)
        return {} if there is None else _names_and_identities(there[0], self.address)

    def names(self, *, again: bool = False) -> set[str]:
        """Every artifact that is there, as of the first time that this was asked."""
        if self._listed is None or again:
            entries = self.objects.list(ARTIFACTS)
            steps = [entry.key.split("/") for entry in entries]
            self._listed = {"/".join(s[1:3]) for s in steps if len(s) == 4 and s[3] == MANIFEST_FILE}
        return self._listed

    def has(self, name: str) -> bool:
        """Whether an artifact is there now."""
        return self.objects.size(_manifest_key(name)) is not None

    def manifests(self, names: Iterable[str]) -> None:
        """See to it that the manifests of these artifacts are among the copies."""
        wanted = [name for name in names if not self.copy_of(name).joinpath(MANIFEST_FILE).exists()]
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(self._copy_manifest, wanted))

    def copy_of(self, name: str) -> Path:
        """The folder among the copies that stands for an artifact."""
        return self.copies.folder / name

    def _copy_manifest(self, name: str) -> None:
        there = self.objects.get(_manifest_key(name))
        if there is None:
            return
        self.copies.note(self.address)
        folder = self.copy_of(name)
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        path = folder / MANIFEST_FILE
        temporary = folder / f".{MANIFEST_FILE}.{id(there)}.tmp"
        temporary.write_bytes(there[0])
        temporary.replace(path)

    def send(
        self, name: str, folder: Path, files: Mapping[str, FileRecord], say: Say = lambda count: None
    ) -> bool:
        """Send an artifact that is whole: its files, then its manifest, unless one is there.

        False if another has sent this artifact before; what is there stays. Whatever ends this on the way
        leaves no artifact, and the next try sends only what is not there.
        """
        if self.has(name):
            return False
        manifest = (folder / MANIFEST_FILE).read_bytes()
        send(self.objects, files_prefix(name), records(name, folder, files), say)
        first = self.objects.put_new(_manifest_key(name), manifest) is not None
        if self._listed is not None:
            self._listed.add(name)
        if first:
            self._clean(name, files)
        return first

    def _clean(self, name: str, files: Mapping[str, FileRecord]) -> None:
        """Remove what a job had sent to go on from; an artifact needs none of it."""
        kept = {file.key for file in records(name, Path(), files)}
        strays = [e.key for e in self.objects.list(files_prefix(name)) if e.key not in kept]
        self.objects.delete([progress_key(name), *strays])

    def receive(
        self, name: str, folder: Path, files: Mapping[str, FileRecord], say: Say = lambda count: None
    ) -> None:
        """Read files of an artifact into a folder."""
        receive(self.objects, records(name, folder, files), say)

    def remove(self, name: str) -> None:
        """Remove an artifact: its manifest first, so that a half-removed one is never read."""
        self.objects.delete([_manifest_key(name), progress_key(name)])
        self.objects.delete([entry.key for entry in self.objects.list(files_prefix(name))])
        if self._listed is not None:
            self._listed.discard(name)


def progress_key(name: str) -> str:
    """Where it is noted what a job that makes an artifact needs to go on."""
    return f"progress/{name}.json"


def _names_and_identities(content: bytes, address: str) -> dict[str, str]:
    try:
        return {str(name): str(identity) for name, identity in json.loads(content).items()}
    except (ValueError, AttributeError):
        raise StoreError(
            f"{address}/{SOURCES_KEY} is damaged; remove it: the next run notes it again"
        ) from None


def _manifest_key(name: str) -> str:
    return f"{ARTIFACTS}/{name}/{MANIFEST_FILE}"


@cache
def objects_at(address: str) -> Objects:
    """The objects at an address; each process opens one connection to it."""
    return Objects(address)


def remote_files(folder: Path, files: Mapping[str, FileRecord]) -> RemoteFiles | None:
    """The files of an artifact whose folder is a copy of a remote one; None for any other folder."""
    copies = folder.absolute().parent.parent
    address = noted_address(copies) if copies.name == COPIES else None
    if address is None:
        return None
    name = f"{folder.parent.name}/{folder.name}"
    return RemoteFiles(objects_at(address), LocalCopies(copies, stated_size()), name, files)
