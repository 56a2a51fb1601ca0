"""Artifacts: folders that exist if and only if they are complete. Here they are made and removed."""

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from microtome.store.artifacts import leftovers, sources
from microtome.store.artifacts.artifact import Artifact, Request, read_artifact
from microtome.store.artifacts.catalogue import SCRATCH, STAGING
from microtome.store.artifacts.digests import Digests
from microtome.store.artifacts.format import check_format, write_format
from microtome.store.artifacts.manifest import MANIFEST, write_manifest
from microtome.store.artifacts.remote_work import RemoteWork
from microtome.store.artifacts.shared_catalogue import SharedCatalogue, default_reference, remote_at
from microtome.store.artifacts.time_spent import Spent, TimeSpent
from microtome.store.errors import MicrotomeError, StoreError
from microtome.store.files.checksums import FileRecord, record_files
from microtome.store.files.locks import (
    is_held,
    lock_first_unused,
    lock_shared,
    make_exclusive,
    release,
    stop_sharing,
)
from microtome.store.files.operations import remove_if_empty, remove_unfinished_writes, why_unwritable
from microtome.store.files.owners import held_by_this_machine
from microtome.store.files.paths import place, there
from microtome.store.files.permissions import make_folder, settle
from microtome.store.files.removal import check_inside, remove
from microtome.store.remote.addresses import is_address, scratch_root

__all__ = ["MANIFEST", "Artifact", "Request", "Staging", "Store", "default_root", "read_artifact"]


def default_root() -> Path:
    """The folder of the default store: of one on object storage, where it is worked in."""
    reference = default_reference()
    return reference if isinstance(reference, Path) else scratch_root(reference)


@dataclass
class Staging:
    """A folder to write an artifact into. `outputs` becomes part of the manifest.

    `files` are those of which a job knows size and checksum; they are not read back. `overtaken` says that
    another process has finished the same artifact; nothing is left to do then.
    """

    path: Path
    request: Request
    wait_for_others: Callable[[], None]  # of a shared folder: until no other process works in it
    stop_sharing: Callable[[], None] = lambda: None  # of several, before any is waited for
    overtaken: bool = False
    # To be told of the files and folders that a job goes on from, in case this machine is lost.
    send_progress: Callable[[Sequence[Path]], None] = field(default=lambda paths: None)
    outputs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def scratch(self) -> Path:
        """A folder for what a resumable job needs to go on; it is gone once the artifact is in place."""
        folder = self.path / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder


class Store(SharedCatalogue):
    """A folder of artifacts, `<root>/<kind>/<slug>-<id8>/`, with work in progress under `<root>/.staging`.

    Of an address on object storage, `root` is the local folder that work is done in; what is finished in it
    is sent, and what is there is found.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        reference = default_reference() if root is None else root
        remote = remote_at(str(reference)) if is_address(reference) else None
        super().__init__(place(reference) if remote is None else remote.root, remote)
        check_format(self.root)
        self.digests = Digests(self.root)

    @contextlib.contextmanager
    def begin(self, request: Request, *, resumable: bool = False, shared: bool = False) -> Iterator[Staging]:
        """Hand out a staging folder; on a clean exit the artifact is committed, else nothing appears.

        A resumable job that dies finds what it had written in the same folder next time. A second writer
        of the same artifact, at the same time, gets a folder of its own; the first to commit wins. If the
        job is `shared` they work in one folder, and each calls `staging.wait_for_others()` before it ends.
        """
        started = time.time()
        with self._claimed_folder(request, shared) as (folder, lock), self._made_here(request) as made_here:
            if not resumable:
                remove(folder, inside=self.root)
                make_folder(folder, private=request.private)

            def wait_for_others() -> None:
                make_exclusive(lock)
                staging.overtaken = self.find(request) is not None

            overtaken = self.find(request) is not None
            resumes = resumable and not overtaken
            spent = made_here.count_time(folder) if resumes else None
            staging = Staging(
                folder,
                request,
                wait_for_others,
                functools.partial(stop_sharing, lock),
                overtaken,
                made_here.send_progress,
            )
            going_on = made_here.going_on_in(folder) if resumes else contextlib.nullcontext()
            try:
                with self._in_our_words(folder), going_on:
                    yield staging
                    made_here.stop_progress()
                    if staging.overtaken:
                        remove_if_empty(folder)
                    else:
                        if not (shared or is_held(lock, folder)):
                            raise StoreError(
                                f"another machine took this one for gone, and goes on in {folder}"
                            )
                        staging.provenance |= _time_of(spent, started)
                        self._commit(staging)
                made_here.send(self._remove_here)
            except BaseException:
                if spent is not None:
                    spent.interrupted()
                if not resumable:
                    with contextlib.suppress(OSError, StoreError):
                        remove(folder, inside=self.root)
                remove_if_empty(folder / SCRATCH)
                remove_if_empty(folder)
                raise

    @contextlib.contextmanager
    def _made_here(self, request: Request) -> Iterator[RemoteWork]:
        """While this machine is the one that makes an artifact of a remote store; it waits for another that
        does, until the artifact is there."""
        with RemoteWork(self, request, SCRATCH) as work:
            yield work

    @contextlib.contextmanager
    def _claimed_folder(self, request: Request, shared: bool) -> Iterator[tuple[Path, int]]:
        """A staging folder of this request and its lock: the first folder that no living process has locked,
        or the one that all processes share."""
        area = self.root / STAGING
        acquire = lock_shared if shared else lock_first_unused
        check_inside(area, self.root)
        check_inside(self.root / request.kind, self.root)
        try:
            write_format(self.root)
            area.mkdir(exist_ok=True)
            lock, folder = acquire(area, f"{request.kind}.{request.folder}")
        except OSError as error:
            raise StoreError(_unwritable(self.root, error.strerror)) from None
        try:
            check_inside(folder, self.root)
            make_folder(folder, private=request.private)
        except StoreError:
            os.close(lock)
            raise
        except OSError as error:
            os.close(lock)
            raise StoreError(_unwritable(self.root, error.strerror)) from None
        try:
            with contextlib.nullcontext() if shared else held_by_this_machine(lock):
                yield folder, lock
        finally:
            release(lock, folder)
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

    @contextlib.contextmanager
    def adopt(self, request: Request) -> Iterator[Path]:
        """A folder for an artifact that was finished elsewhere, as far as an earlier try has filled it. On a
        clean exit it has all files and the manifest, and is moved into place."""
        with self._claimed_folder(request, False) as (folder, _):
            yield folder
            with self._in_our_words(folder):
                self._put(Staging(folder, request, lambda: None))

    def _commit(self, staging: Staging) -> None:
        """Write the manifest last, then move the folder into place in one step."""
        request = staging.request
        manifest = {
            "id": request.id,
            "kind": request.kind,
            "version": request.version,
            "config": dict(request.config),
            "settings": dict(request.config if request.settings is None else request.settings),
            "inputs": dict(request.inputs),
            "labels": dict(request.labels),
            "outputs": staging.outputs,
            "provenance": {"made": datetime.now(UTC).isoformat(timespec="seconds"), **staging.provenance},
            "files": _record(staging),
        }
        if request.private:
            manifest["private"] = True
        remove_unfinished_writes(staging.path / MANIFEST)
        write_manifest(staging.path, manifest)
        settle(staging.path, staging.path / MANIFEST, private=request.private)
        self._put(staging)

    def _put(self, staging: Staging) -> None:
        """Move a finished folder to where it belongs, unless another writer was first."""
        request = staging.request
        final = self.root / request.kind / request.folder
        final.parent.mkdir(parents=True, exist_ok=True)
        check_inside(final, self.root)
        why: str | None = ""
        for _ in range(2):
            try:
                staging.path.rename(final)
                with contextlib.suppress(OSError):
                    remove(final / SCRATCH, inside=final)
                return
            except OSError as error:
                why = error.strerror
            if self.find(request) is not None:
                remove(staging.path, inside=self.root)
                return
            if there(final):  # a removal that was cut short, or damaged
                self._clear(final)
        raise StoreError(f"cannot move the finished {request.kind} into {final}: {why}")

    def _clear(self, final: Path) -> None:
        """Take away what is no artifact from the place of one."""
        other = self.read(final.parent.name, final.name)
        if other is not None:
            raise StoreError(
                f"{other.name} has another id ({other.id}) that begins alike; remove one of the two"
            )
        if not final.is_dir():
            raise StoreError(f"{final} is in the way of an artifact, and is none; move it away")
        remove(final, inside=self.root)

    def done(self, request: Request) -> Artifact | None:
        """The artifact of this request, if none of its files is missing or of another size."""
        artifact = self.find(request)
        return artifact if artifact is not None and artifact.whole and self.sent(artifact) else None

    def make_way(self, request: Request) -> None:
        """Remove the artifact of this request if it is not whole, so that it can be made again."""
        damaged = self.find(request)
        if damaged is None or damaged.whole:
            return
        aside = self.root / STAGING / f"{request.kind}.{damaged.path.name}.{os.getpid()}"
        try:
            check_inside(damaged.path, self.root)
            aside.parent.mkdir(exist_ok=True)
            damaged.path.rename(aside)
            if Artifact(aside, damaged.manifest).whole:  # another process has just made it anew
                aside.rename(damaged.path)
            else:
                remove(aside, inside=self.root)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            raise StoreError(f"cannot remove the damaged {damaged.path}: {error.strerror}") from None
        remove_if_empty(aside.parent)

    def remove(self, artifact: Artifact | Path) -> None:
        """Delete an artifact of this store, or the folder of one that is damaged; its manifest goes first,
        so that a half-removed one is never read. InputError for a folder that is not in this store."""
        given = artifact if isinstance(artifact, Path) else artifact.path
        folder = self.own_copy(given) or self.own(given)
        if self.remote is not None:
            self.remote.remove(f"{folder.parent.name}/{folder.name}")
        self._remove_folder(folder)

    def _remove_here(self, artifact: Artifact) -> None:
        self._remove_folder(self.own(artifact.path))

    def _remove_folder(self, folder: Path) -> None:
        try:
            if not (folder / MANIFEST).is_symlink():  # a link goes with the folder
                remove(folder / MANIFEST, inside=self.root)
            remove(folder, inside=self.root)
        except OSError as error:
            raise StoreError(f"cannot remove {folder}: {error.strerror}") from None

    def leftovers(self, kinds: Collection[str], older_than: float) -> tuple[Path, ...]:
        """Folders that nothing can use and nothing has written to for `older_than` seconds."""
        return leftovers.find(self, kinds, older_than)

    def discard(self, leftover: Path) -> bool:
        """Delete a leftover; False if it has come to use since."""
        return leftovers.discard(self, leftover)

    def check_writable(self) -> None:
        """StoreError in one line if nothing can be written here."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StoreError(_unwritable(self.root, error.strerror)) from None
        if self.remote is not None:
            self.remote.check()

    def remember(self, identities: Mapping[str, str]) -> None:
        """Note the identities of models and datasets, for a machine that has the store but not them."""
        try:
            write_format(self.root)
            sources.remember(self.root, identities)
        except OSError as error:
            raise StoreError(_unwritable(self.root, error.strerror)) from None
        if self.remote is not None:
            self.remote.remember(sources.remembered(self.root))

    def remembered(self) -> dict[str, str]:
        """What `remember` noted, by name."""
        there = {} if self.remote is None else self.remote.remembered()
        return there | sources.remembered(self.root)

    def log_path(self, request: Request) -> Path:
        """Where the log of the job that makes this artifact is written."""
        return self.root / "logs" / f"{request.kind}.{request.folder}.log"


def _time_of(spent: TimeSpent | None, started: float) -> dict[str, Any]:
    """What a manifest says of the time that a job took; of one that was stopped, in all its attempts."""
    whole = Spent(round(time.time() - started, 3), 1, 0.0) if spent is None else spent.end()
    again = {} if whole.attempts == 1 else {"attempts": whole.attempts, "seconds_lost": whole.lost}
    return {"seconds": whole.seconds, **again}


def _record(staging: Staging) -> dict[str, FileRecord]:
    """Size and checksum of every file that a finished job leaves; what it knows itself is only looked up."""
    remove(staging.path / MANIFEST, inside=staging.path)  # of a try that was killed as it ended
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


def _unwritable(root: Path, reason: str | None) -> str:
    return f"cannot write to the store {root}: {reason}. Set MICROTOME_STORE to a folder you can write"
