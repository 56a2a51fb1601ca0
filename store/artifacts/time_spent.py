"""How long a job that was stopped has run in all, and how much of it was lost: its attempts keep a record
each.

A record lies in the folder with what a resumable job needs to go on, and goes where that goes. What is on
object storage is as old as the last save; how long an attempt ran after it, the claim says
(`remote/claims.py`).
"""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microtome.store.files.operations import TEMPORARY

NAME = "attempt-{}.json"
BEAT = 15.0  # seconds between two writes of the record of a running attempt


@dataclass(frozen=True)
class Spent:
    """Of all attempts together: their seconds, how many they were, and the seconds after the last save of
    each that was lost."""

    seconds: float
    attempts: int
    lost: float


class TimeSpent:
    """The record of one attempt in the folder `kept`, written while it runs, once anything else is in
    there. `earlier` says how long attempts have run that may have left no record, or an older one."""

    def __init__(self, kept: Path, earlier: Mapping[str, float] | None = None) -> None:
        self._path = kept / NAME.format(secrets.token_hex(4))
        self._earlier = dict(earlier or {})
        self._began, self._saved = time.monotonic(), 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name="time-spent", daemon=True)
        self._thread.start()

    def files(self) -> list[Path]:
        return sorted(self._path.parent.glob(NAME.format("*")))

    def saved(self) -> list[Path]:
        """Note that what was done until now is saved; the records of all attempts, which belong to it."""
        self._saved = self._seconds()
        self._write()
        return self.files()

    def attempts(self) -> dict[str, float]:
        """How many seconds each attempt has run, this one included, by the name of its record."""
        recorded = {name: record["seconds"] for name, record in self._records().items()}
        longest = {
            name: max(seconds, self._earlier.get(name, 0.0))
            for name, seconds in (self._earlier | recorded).items()
        }
        return longest | {self._path.name: round(self._seconds(), 3)}

    def end(self) -> Spent:
        """Stop writing; what all attempts took, this one included, of which nothing was lost."""
        self._over.set()
        self._thread.join()
        seconds, records = self.attempts(), self._records()
        # An attempt that left no record with what this one went on from has saved nothing.
        lost = [
            max(run - records[name]["saved"] if name in records else run, 0.0)
            for name, run in seconds.items()
            if name != self._path.name
        ]
        return Spent(round(sum(seconds.values()), 3), len(seconds), round(sum(lost), 3))

    def interrupted(self) -> None:
        """Stop writing, and note how long this attempt was."""
        self._over.set()
        self._thread.join()
        self._write()

    def _records(self) -> dict[str, dict[str, float]]:
        records = {}
        for path in self.files():
            with contextlib.suppress(FileNotFoundError):  # the job has just ended
                records[path.name] = json.loads(path.read_text())
        return records

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self._write()

    def _write(self) -> None:
        kept = self._path.parent
        with self._lock:
            if kept.is_dir() and any(not path.match(NAME.format("*")) for path in kept.iterdir()):
                seconds = round(self._seconds(), 3)
                record = {"seconds": seconds, "saved": round(min(self._saved, seconds), 3)}
                temporary = self._path.with_suffix(TEMPORARY)
                temporary.write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
                temporary.replace(self._path)
