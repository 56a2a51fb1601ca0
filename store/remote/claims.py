"""Who makes what, between machines that have no disk in common.

A claim is an object that is created if it is not there. Its holder rewrites it, which gives it another
version tag, long before its lease is over. Whoever sees one version for a whole lease on a clock of his own
takes the claim over, by a write that succeeds only while that version is the newest: no two clocks are ever
compared. A claim saves work and nothing else depends on it: two that finish the same artifact end with one.

A claim also says how long each attempt has run that was made so far, as of its last renewal. So a machine
that was taken away without notice has told its successor how long it had worked.
"""

import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from microtome.store.files.repeating import repeated
from microtome.store.remote.failures import RemoteError
from microtome.store.remote.objects import Objects

LEASE = 60.0  # seconds
RENEWALS = 4  # per lease
Clock = Callable[[], float]
Attempts = dict[str, float]  # seconds by the name of the attempt


@dataclass
class Claim:
    """One that this machine holds, until `lost`."""

    objects: Objects
    key: str
    holder: str
    tag: str
    # The attempts that are written with each renewal: at first those that the holder before had written.
    attempts: Callable[[], Attempts] = dict
    lost: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def renew(self) -> bool:
        """Whether it is still held; a network that is gone decides nothing."""
        with self._lock:
            if self.lost:
                return False
            tag = self.objects.put_unchanged(self.key, self._content(), self.tag)
            if tag is None:
                tag = self._renewed_by_another_process()
            self.lost = tag is None
            self.tag = tag or self.tag
            return not self.lost

    def _renewed_by_another_process(self) -> str | None:
        """Processes of one machine hold a claim together: each renews it, the first to end gives it up."""
        current = self.objects.get(self.key)
        if current is None:
            return self.objects.put_new(self.key, self._content())
        if _holder(current[0]) in (self.holder, ""):
            return self.objects.put_unchanged(self.key, self._content(), current[1])
        return None

    def _content(self) -> bytes:
        return _content(self.holder, self.attempts())

    def give_up(self, *, done: bool) -> None:
        """Let the next one have it at once; it is rewritten and not removed, so that a successor's stays.
        What was attempted is forgotten once it is `done`."""
        with self._lock:
            if not self.lost:
                attempts = {} if done else self.attempts()
                self.objects.put_unchanged(self.key, _content("", attempts), self.tag)
                self.lost = True

    @contextlib.contextmanager
    def kept(self, lease: float = LEASE) -> Iterator[None]:
        """Renew it from a thread of its own for as long as the block runs."""

        def renew() -> bool:
            try:
                return self.renew()
            except RemoteError:  # the next time may go better
                return True

        with repeated(renew, lease / RENEWALS, "claim"):
            yield


class Claims:
    """Claims below `claims/`, as one machine sees them."""

    def __init__(
        self, objects: Objects, holder: str, *, lease: float = LEASE, clock: Clock = time.monotonic
    ) -> None:
        self._objects, self._holder, self._lease, self._clock = objects, holder, lease, clock
        self._seen: dict[str, tuple[str, float]] = {}  # of others' claims: the version, and since when

    def take(self, name: str) -> Claim | None:
        """The claim of `name`, or None as long as another machine holds it."""
        key, attempts = claim_key(name), Attempts()
        tag = self._objects.put_new(key, _content(self._holder, attempts))
        if tag is None:
            current = self._objects.get(key)
            if current is None or not self._free(key, *current):
                return None
            attempts = _attempts(current[0])
            tag = self._objects.put_unchanged(key, _content(self._holder, attempts), current[1])
        if tag is None:
            return None
        self._seen.pop(key, None)
        return Claim(self._objects, key, self._holder, tag, lambda: attempts)

    def holder_of(self, name: str) -> str:
        """Who holds a claim, for a message; nothing if nobody does."""
        current = self._objects.get(claim_key(name))
        return "" if current is None else _holder(current[0]).partition(" ")[0]

    def _free(self, key: str, content: bytes, tag: str) -> bool:
        if _holder(content) in (self._holder, ""):
            return True
        version, since = self._seen.get(key, ("", 0.0))
        if version != tag:
            self._seen[key] = tag, self._clock()
            return False
        return self._clock() - since >= self._lease


def claim_key(name: str) -> str:
    """Where the claim of the artifact `<kind>/<folder>` lies."""
    return f"claims/{name}.json"


def new_holder() -> str:
    """A name for this machine's scratch folder that no other has."""
    return f"{socket.gethostname()} {secrets.token_hex(8)}"


def _content(holder: str, attempts: Attempts) -> bytes:
    """No two are alike, so that each write makes a new version."""
    content = {"holder": holder, "write": secrets.token_hex(8), "attempts": attempts}
    return json.dumps(content, allow_nan=False).encode()


def _holder(content: bytes) -> str:
    try:
        return str(json.loads(content)["holder"])
    except (ValueError, KeyError, TypeError):
        return ""


def _attempts(content: bytes) -> Attempts:
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(content)["attempts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # of an older version
