"""One artifact in the making, for a store whose artifacts end up on object storage: one machine makes it, and
sends what it finishes on the way and the artifact."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from microtome.store.artifacts.artifact import Artifact, Request
from microtome.store.artifacts.manifest import MANIFEST
from microtome.store.artifacts.shared_catalogue import SharedCatalogue
from microtome.store.artifacts.time_spent import TimeSpent
from microtome.store.errors import StoreError
from microtome.store.remote.claims import LEASE, Claim
from microtome.store.remote.failures import RemoteError
from microtome.store.remote.progress import Progress, take_over

POLL = 5.0  # seconds between two looks at what another machine makes


class RemoteWork(contextlib.AbstractContextManager["RemoteWork"]):
    """Entered, this machine holds the claim of what `request` asks for, or the artifact is there already.

    Of a store without a remote it does nothing. `kept` is the folder, in that of the artifact in the making,
    with what a job needs to go on.
    """

    def __init__(self, store: SharedCatalogue, request: Request, kept: str) -> None:
        self._store, self._remote, self._request, self._kept = store, store.remote, request, kept
        self._name = f"{request.kind}/{request.folder}"
        self._claim: Claim | None = None
        self._progress: Progress | None = None
        self._spent: TimeSpent | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._remote is None:
            return self
        while self._store.find(self._request) is None:
            self._claim = self._remote.claims.take(self._name)
            if self._claim is not None:
                self._open.enter_context(self._claim.kept(LEASE))
                break
            holder = self._remote.claims.holder_of(self._name) or "another machine"
            print(f"» waits for {holder}, which makes it", flush=True)
            threading.Event().wait(POLL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if self._claim is not None:
            with contextlib.suppress(RemoteError):  # it is over after its lease then
                self._claim.give_up(done=error is None)

    def count_time(self, folder: Path) -> TimeSpent:
        """Measure this attempt of a job that can be resumed in `folder`, and those before it; the claim tells
        a successor of it, however this machine ends."""
        earlier = {} if self._claim is None else self._claim.attempts()
        self._spent = TimeSpent(folder / self._kept, earlier)
        if self._claim is not None:
            self._claim.attempts = self._spent.attempts
        return self._spent

    @contextlib.contextmanager
    def going_on_in(self, folder: Path) -> Iterator[None]:
        """Go on in a folder from what another machine had finished, and send what this one finishes."""
        if self._remote is None or self._claim is None:
            yield
            return
        take_over(self._remote.objects, self._name, folder, self._kept)
        self._progress = Progress(self._remote.objects, self._name, folder, self._kept, self._claim)
        try:
            yield
        except BaseException:
            self.stop_progress(wait=True)
            raise
        self.stop_progress()

    def send_progress(self, paths: Sequence[Path]) -> None:
        """Note that what was done until now is saved; send these files, and all below these folders, in the
        background."""
        records = [] if self._spent is None else self._spent.saved()
        if self._progress is not None:
            self._progress.send_soon([*paths, *records])

    def stop_progress(self, *, wait: bool = False) -> None:
        """Send nothing more of what is in the making; with `wait`, first all that was to be sent."""
        if self._progress is not None:
            self._progress.close(wait=wait)
            self._progress = None

    def send(self, remove: Callable[[Artifact], None]) -> None:
        """Send the artifact, if it is here and not there. If another was sent first, that one counts, and
        what is here is given to `remove`, unless the two are the same."""
        if self._remote is None:
            return
        artifact = self._store.find(self._request)
        if artifact is None or artifact.contents.remote is not None:
            return
        try:
            first = self._remote.send(artifact.name, artifact.path, artifact.manifest["files"])
        except StoreError as error:
            raise StoreError(
                f"{artifact.name} is finished in {self._store.root}, but not sent: {error}. Or send it "
                "later: microtome store push"
            ) from None
        if not first and not self._is_same(artifact):
            remove(artifact)

    def _is_same(self, artifact: Artifact) -> bool:
        assert self._remote is not None
        self._remote.manifests([artifact.name])
        copy = self._remote.copy_of(artifact.name) / MANIFEST
        return copy.read_bytes() == (artifact.path / MANIFEST).read_bytes()
