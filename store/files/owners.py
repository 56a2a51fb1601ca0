"""Who holds a lock, and whether that machine is still there.

On one machine the system lets go of the locks of a process that ends. On a disk that several machines
share, the lock of a machine that is gone may stay. So the holder writes its name into the lock file and
touches it long before its lease is over; both times that are compared are the file server's.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from microtome.store.files.repeating import repeated

LEASE = 60.0  # seconds after the last touch, until a holder on another machine counts as gone
TOUCHES = 4  # per lease


@contextlib.contextmanager
def held_by_this_machine(lock: int) -> Iterator[None]:
    """Within, the open lock file says who holds it, and is touched again and again from a thread of its
    own."""
    owner = json.dumps({"machine": socket.gethostname(), "process": os.getpid()}, allow_nan=False).encode()
    os.ftruncate(lock, 0)
    os.pwrite(lock, owner, 0)

    def touch() -> bool:
        with contextlib.suppress(OSError):
            os.utime(lock)
        return True

    with repeated(touch, LEASE / TOUCHES, "lock"):
        yield


def holder_is_gone(lock_file: Path) -> bool:
    """Whether the holder of a lock is another machine that no longer touches it. Waits, at most a lease,
    until it is touched or its lease is over; of a holder on this machine the system knows best."""
    if _machine(lock_file) in ("", socket.gethostname()):
        return False
    first = _touched(lock_file)
    while first is not None and _touched(lock_file) == first:
        if _now_on_disk(lock_file.parent) - first >= LEASE:
            return True
        threading.Event().wait(LEASE / TOUCHES / 10)
    return False


def _machine(lock_file: Path) -> str:
    try:
        return str(json.loads(lock_file.read_bytes())["machine"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _touched(lock_file: Path) -> float | None:
    try:
        return lock_file.stat().st_mtime
    except OSError:
        return None


def _now_on_disk(folder: Path) -> float:
    """The time of the machine that has the disk, as it stamps a file that is written now."""
    path = folder / f".now.{secrets.token_hex(8)}"
    try:
        path.write_bytes(b"0")
        return path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)
