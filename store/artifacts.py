"""Artifacts: folders that exist if and only if they are complete. The only code that knows paths."""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from store.checksums import FileRecord, record_files
from store.contents import Contents
from store.errors import MicrotomeError, MissingError, StoreError
from store.files import folder_bytes, remove_if_empty, why_unwritable, write_json
from store.fingerprint import SHORT, artifact_id
from store.locks import alone, first_free, joined, let_go, lock_path, unheld
from store.manifest import MANIFEST, parse_manifest, write_manifest

SOURCES = "sources.json"
STAGING = ".staging"
SCRATCH = ".scratch"


def default_root() -> Path:
    """`MICROTOME_STORE`, or `artifacts` in the working directory."""
    return Path(os.environ.get("MICROTOME_STORE") or "artifacts")


@dataclass(frozen=True)
class Request:
    """What is asked for. `inputs` maps a role to the id it plays; `slug` and `labels` only name things."""

    kind: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    slug: str
    labels: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        return artifact_id(self.kind, self.version, self.config, self.inputs)

    @property
    def folder(self) -> str:
        return f"{self.slug}-{self.id[:SHORT]}"


@dataclass(frozen=True)
class Artifact:
    """A complete artifact: `path` is its folder, `manifest` what it is and what it was made from."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        return self.manifest["id"]

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.path.name}"

    @cached_property
    def contents(self) -> Contents:
        """Its files, to be read."""
        return Contents(self.path, self.name, self.id, self.manifest["files"])

    @property
    def whole(self) -> bool:
        """Whether all files are there, with their sizes; what is in them is not looked at."""
        try:
            self.contents.check_sizes()
        except StoreError:
            return False
        return True

    def bytes(self) -> int:
        """Size on disk of all files, in bytes."""
        return folder_bytes(self.path)


@dataclass
class Staging:
    """A folder to write an artifact into. `outputs` becomes part of the manifest.

    `files` are those of which a job knows size and checksum; they are not read back. `overtaken` says that
    another process has finished the same artifact; nothing is left to do then.
    """

    path: Path
    request: Request
    alone: Callable[[], None]  # of a shared folder: waits until no other process works in it
    overtaken: bool = False
    outputs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def scratch(self) -> Path:
        """A folder for what a resumable job needs to go on; it is gone once the artifact is in place."""
        folder = self.path / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder


class Store:
    """A folder of artifacts, `<root>/<kind>/<slug>-<id8>/`, with work in progress under `<root>/.staging`."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    # reading ------------------------------------------------------------------------------------------

    def find(self, request: Request) -> Artifact | None:
        """The complete artifact of this request, or None."""
        path = self.root / request.kind / request.folder
        found = self._read(path)
        if found is not None and found.id == request.id:
            return found
        for path in sorted((self.root / request.kind).glob(f"*-{request.id[:SHORT]}")):
            found = self._read(path)  # the same thing under another readable name
            if found is not None and found.id == request.id:
                return found
        return None

    def open(self, reference: str | Path) -> Artifact:
        """An artifact by folder, id (8 digits or more) or readable name; MissingError if there is none."""
        folder = Path(reference)
        if (folder / MANIFEST).is_file():
            found = self._read(folder)
            if found is not None:
                return found
        text = str(reference)
        wanted = text.rpartition("/")[2]
        matches = [
            artifact
            for artifact in self.list()
            if wanted in (artifact.path.name, artifact.id)
            or (re.fullmatch(r"[0-9a-f]{8,64}", text) and artifact.id.startswith(text))
        ]
        if not matches:
            raise MissingError(f"no artifact '{reference}' in {self.root}. See: microtome cache ls")
        if len({artifact.id for artifact in matches}) > 1:
            names = ", ".join(artifact.name for artifact in matches)
            raise MissingError(f"'{reference}' is ambiguous in {self.root}: {names}")
        return matches[0]

    def list(self, kind: str | None = None) -> list[Artifact]:
        """Every complete artifact, by kind and name."""
        found = []
        for manifest in sorted(self.root.glob(f"{kind or '[!.]*'}/*/{MANIFEST}")):
            artifact = self._read(manifest.parent)
            if artifact is not None:
                found.append(artifact)
        return found

    def _read(self, path: Path) -> Artifact | None:
        try:
            return Artifact(path, parse_manifest((path / MANIFEST).read_text("utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, RecursionError):
            raise StoreError(
                f"{path / MANIFEST} is damaged; remove the folder and run the job again"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot read {path / MANIFEST}: {error.strerror}") from None

    # writing ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def begin(self, request: Request, *, resumable: bool = False, shared: bool = False) -> Iterator[Staging]:
        """Hand out a staging folder; on a clean exit the artifact is committed, else nothing appears.

        A resumable job that dies finds what it had written in the same folder next time. A second writer
        of the same artifact, at the same time, gets a folder of its own; the first to commit wins. If the
        job is `shared` they work in one folder, and each calls `staging.alone()` before it ends.
        """
        started = time.time()
        with self._claimed_folder(request, shared) as (folder, lock):
            if not resumable:
                _empty(folder)

            def wait_until_alone() -> None:
                alone(lock)
                staging.overtaken = self.find(request) is not None

            staging = Staging(folder, request, wait_until_alone, overtaken=self.find(request) is not None)
            try:
                with self._in_our_words(folder):
                    yield staging
                    if staging.overtaken:
                        remove_if_empty(folder)
                    else:
                        staging.provenance.setdefault("seconds", round(time.time() - started, 3))
                        self._commit(staging)
            except BaseException:
                if not resumable:
                    shutil.rmtree(folder, ignore_errors=True)
                remove_if_empty(folder / SCRATCH)
                remove_if_empty(folder)
                raise

    @contextlib.contextmanager
    def _claimed_folder(self, request: Request, shared: bool) -> Iterator[tuple[Path, int]]:
        """A staging folder of this request and the lock that holds it: the first that no living process
        holds, or the one that all share."""
        area = self.root / STAGING
        take = joined if shared else first_free
        try:
            area.mkdir(parents=True, exist_ok=True)
            lock, folder = take(area, f"{request.kind}.{request.folder}")
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(_unwritable(self.root, error.strerror)) from None
        try:
            yield folder, lock
        finally:
            let_go(lock, folder)
            remove_if_empty(area)

    @contextlib.contextmanager
    def _in_our_words(self, folder: Path) -> Iterator[None]:
        """An error that means a store nobody can write to, however a library put it, as one StoreError."""
        try:
            yield
        except MicrotomeError:
            raise
        except Exception as error:
            if _is_gone(folder, error):
                raise StoreError(f"{folder} has gone away. Is the store's disk still mounted?") from error
            reason = why_unwritable(error, self.root)
            if reason is None:
                raise
            raise StoreError(_unwritable(self.root, reason)) from error

    def _commit(self, staging: Staging) -> None:
        """Write the manifest last, then move the folder into place in one step."""
        request = staging.request
        manifest = {
            "id": request.id,
            "kind": request.kind,
            "version": request.version,
            "config": dict(request.config),
            "inputs": dict(request.inputs),
            "labels": dict(request.labels),
            "outputs": staging.outputs,
            "provenance": {"made": datetime.now(UTC).isoformat(timespec="seconds"), **staging.provenance},
            "files": _record(staging),
        }
        write_manifest(staging.path, manifest)
        final = self.root / request.kind / request.folder
        final.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                staging.path.rename(final)
                shutil.rmtree(final / SCRATCH, ignore_errors=True)
                return
            except OSError:
                if self.find(request) is not None:  # another writer of the same artifact was first
                    shutil.rmtree(staging.path)
                    return
                shutil.rmtree(final, ignore_errors=True)  # a removal that was cut short
        raise StoreError(f"cannot move the finished {request.kind} into {final}")

    def done(self, request: Request) -> Artifact | None:
        """The artifact of this request, if none of its files is missing or of another size."""
        found = self.find(request)
        return found if found is not None and found.whole else None

    def make_way(self, request: Request) -> None:
        """Remove the artifact of this request if it is not whole, so that it can be made again."""
        found = self.find(request)
        if found is None or found.whole:
            return
        aside = self.root / STAGING / f"{request.kind}.{found.path.name}.damaged.{os.getpid()}"
        try:
            aside.parent.mkdir(exist_ok=True)
            found.path.rename(aside)
            if Artifact(aside, found.manifest).whole:  # another process has just made it anew
                aside.rename(found.path)
            else:
                shutil.rmtree(aside)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            raise StoreError(f"cannot remove the damaged {found.path}: {error.strerror}") from None
        remove_if_empty(aside.parent)

    def remove(self, artifact: Artifact) -> None:
        """Delete an artifact; its manifest goes first, so that a half-removed one is never read."""
        try:
            (artifact.path / MANIFEST).unlink()
            shutil.rmtree(artifact.path)
        except OSError as error:
            raise StoreError(f"cannot remove {artifact.path}: {error.strerror}") from None

    def leftovers(self, kinds: Collection[str], older_than: float) -> tuple[Path, ...]:
        """Folders that nothing can use and nothing has written to for `older_than` seconds: staging folders
        that no living process holds, half-removed artifacts of `kinds`, which have no manifest, and what
        was left in an artifact by a job that was killed as it ended."""
        staged = {p.with_name(p.name.removesuffix(".lock")) for p in (self.root / STAGING).glob("*")}
        found = [p for kind in kinds for p in (self.root / kind).glob("*-" + "[0-9a-f]" * SHORT)]
        halves = {p for p in found if p.is_dir() and not p.is_symlink() and not (p / MANIFEST).exists()}
        scratch = {p / SCRATCH for p in found if (p / MANIFEST).exists() and (p / SCRATCH).is_dir()}
        free = []
        for folder in sorted(staged | halves | scratch):
            with unheld(folder) as nobody_works_there:
                if nobody_works_there and _last_written(folder) <= time.time() - older_than:
                    free.append(folder)
        return tuple(free)

    def discard(self, leftover: Path) -> bool:
        """Delete a leftover; False if it has come to use since."""
        with unheld(leftover) as nobody_works_there:
            staged = leftover.parent.name == STAGING
            if not nobody_works_there or (not staged and (leftover / MANIFEST).exists()):
                return False
            try:
                if leftover.exists():
                    shutil.rmtree(leftover)
                lock_path(leftover).unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"cannot remove {leftover}: {error.strerror}") from None
        if staged:
            with contextlib.suppress(OSError):
                leftover.parent.rmdir()
        return True

    def check_writable(self) -> None:
        """StoreError in one line if nothing can be written here."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StoreError(_unwritable(self.root, error.strerror)) from None

    def remember(self, identities: Mapping[str, str]) -> None:
        """Note the identities of models and datasets, for a machine that has the store but not them."""
        known = self.remembered() | dict(identities)
        if known != self.remembered():
            self.root.mkdir(parents=True, exist_ok=True)
            write_json(self.root / SOURCES, dict(sorted(known.items())))

    def remembered(self) -> dict[str, str]:
        """What `remember` noted, by name."""
        try:
            return json.loads((self.root / SOURCES).read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    def log_path(self, request: Request) -> Path:
        """Where the log of the job that makes this artifact is written."""
        return self.root / "logs" / f"{request.kind}.{request.folder}.log"


def _record(staging: Staging) -> dict[str, FileRecord]:
    """Size and checksum of every file that a finished job leaves; what it knows itself is only looked up."""
    (staging.path / MANIFEST).unlink(missing_ok=True)  # of a try that was killed as it ended
    found: dict[str, FileRecord] = {}
    for path in sorted(p for p in staging.path.rglob("*") if p.is_file()):
        file = path.relative_to(staging.path).as_posix()
        if file.startswith(f"{SCRATCH}/"):
            continue
        known = staging.files.get(file)
        if known is not None and known["bytes"] == path.stat().st_size:
            found[file] = known
        else:
            found |= record_files(staging.path, path)
    lost = [file for file in staging.files if found.get(file) != staging.files[file]]
    if lost:
        raise StoreError(f"{staging.path}: {lost[0]} is not as it was written; run the job again")
    return found


def _is_gone(folder: Path, error: Exception) -> bool:
    """Whether an error came of a folder that vanished under a job; a library may have made it again."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        missing = Path(str(error.filename))
        return missing.is_relative_to(folder) and not missing.parent.exists()
    return not folder.exists()


def _last_written(folder: Path) -> float:
    """When anything in a folder, or its lock, was last written; 0 if there is nothing."""
    there = [path for path in (folder, lock_path(folder), *folder.rglob("*")) if path.exists()]
    return max((path.stat().st_mtime for path in there), default=0.0)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _unwritable(root: Path, reason: str | None) -> str:
    return f"cannot write to the store {root}: {reason}. Set MICROTOME_STORE to a folder you can write"
