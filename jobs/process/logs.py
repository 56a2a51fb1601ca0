"""A job's log: everything it prints, and one line of progress at a time."""

import contextlib
import functools
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from microtome.store.files.permissions import open_log

PROGRESS = "» "  # a line the executor shows while the job runs


def log_progress(text: str) -> None:
    """Say how far the job has come."""
    print(f"{PROGRESS}{text}", flush=True)


@contextlib.contextmanager
def logged_to(path: Path, *, private: bool = False) -> Iterator[None]:
    """Send what the job prints, warns and logs to a file, appended after earlier tries; a `private` one is
    its owner's alone to read.

    OSError if the file cannot be written. A character that has no UTF-8 is written as its number.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = functools.partial(open_log, private=private)
    with open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1, opener=opener) as stream:
        stream.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        handler = logging.StreamHandler(stream)
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                yield
        finally:
            root.removeHandler(handler)
            sys.stdout.flush()


def last_progress(path: Path) -> str:
    """The newest progress line of a log, or nothing."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 4096))
            tail = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line for line in tail.splitlines() if line.startswith(PROGRESS)]
    return lines[-1].removeprefix(PROGRESS) if lines else ""
