"""Being asked to stop, by SIGTERM or Ctrl-C: what is under way is saved, if it can be within seconds."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# `make` and a container's init pass on what the whole process group was sent: that is one wish, not two.
SAME_WISH_SECONDS = 2.0

# Signals belong to the process, and so does what was heard of them.
_heard: signal.Signals | None = None
_heard_at = 0.0
_held = 0


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """From here on SIGTERM and Ctrl-C are heard, and raise KeyboardInterrupt unless they are `held`.

    Only the main thread of a process can hear signals; in another, this does nothing.
    """
    global _heard
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.signal(number, _hear) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _heard = None


@contextlib.contextmanager
def held() -> Iterator[None]:
    """What is within looks at `heard` by itself and ends soon, so the first signal does not interrupt it.

    KeyboardInterrupt at its end if there was one, and at once if somebody loses patience and sends another.
    """
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    stop_if_heard()


def heard() -> signal.Signals | None:
    """The signal that asked this process to stop, or None."""
    return _heard


def stop_if_heard() -> None:
    """KeyboardInterrupt if this process was asked to stop; a library may have swallowed the first one."""
    if _heard is not None:
        raise KeyboardInterrupt


def exit_status() -> int:
    """What a shell expects of a process that a signal ended."""
    return 128 + (_heard or signal.SIGINT)


def _hear(number: int, frame: FrameType | None) -> None:
    global _heard, _heard_at
    now = time.monotonic()
    if _heard is None:
        _heard, _heard_at = signal.Signals(number), now
        if not _held:
            raise KeyboardInterrupt
    elif now - _heard_at >= SAME_WISH_SECONDS:
        raise KeyboardInterrupt
