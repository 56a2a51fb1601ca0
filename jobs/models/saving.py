"""The state of a training is copied between two steps and written beside the next ones.

A copy in main memory takes a small part of the time that writing does. The files are those that transformers'
Trainer reads when it resumes; `trainer_state.json` comes last, and a folder with it is complete.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from microtome.jobs.models import sharding
from microtome.store.errors import InputError
from microtome.store.files.removal import remove

STATE = "trainer_state.json"
SAVES_VARIABLE = "MICROTOME_SAVE_SECONDS"
SECONDS_BETWEEN_SAVES = (
    60.0  # if that is not set; a state is three times the model: more often takes longer than short epochs do
)
# Steps wait while a state is copied, for at most this share of the time.
LARGEST_SHARE = 0.05

Write = Callable[[Path], None]


class StateWriter:
    """Writes the states of one training below `folder`, one at a time; the newest stays.

    `saved` is told of the folder of each that is complete. `waited` is how long steps had to wait, in
    seconds.
    """

    def __init__(self, folder: Path, saved: Callable[[Path], None]) -> None:
        self._folder, self._saved = folder, saved
        self._thread = ThreadPoolExecutor(1, "training-state")
        self._under_way: Future[None] | None = None
        self._last = time.monotonic()
        self._seconds = _seconds_between_saves()
        self.waited = 0.0
        self._pause = 0.0  # at the last save

    def is_due(self) -> bool:
        """Whether the last state has some age, nothing is being written, and another copy is worth its
        time."""
        age = time.monotonic() - self._last
        busy = self._under_way is not None and not self._under_way.done()
        return not busy and age >= max(self._seconds, self._pause / LARGEST_SHARE)

    def save(self, trainer: Trainer, beside: Write) -> None:
        """Copy the state of a training as it is now, and begin to write it; `beside` writes into its
        folder too. What went wrong with an earlier one is raised here."""
        self.wait()
        began = time.monotonic()
        folder = self._folder / f"checkpoint-{trainer.state.global_step}"
        write = _copy_of_state(trainer, folder, beside)
        self._last = time.monotonic()
        self._pause = self._last - began
        self.waited += self._pause
        if sharding.group().rank == 0:  # which has what the others sent
            self._under_way = self._thread.submit(self._write, write, folder)

    def wait(self) -> None:
        """Until what is under way is written."""
        if self._under_way is not None:
            began, under_way, self._under_way = time.monotonic(), self._under_way, None
            under_way.result()
            self.waited += time.monotonic() - began

    def close(self) -> None:
        """Wait, and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown(wait=True)

    def _write(self, write: Write, folder: Path) -> None:
        write(folder)
        for other in self._folder.glob("checkpoint-*"):
            if other != folder:
                remove(other, inside=self._folder)
        self._saved(folder)


def _seconds_between_saves() -> float:
    setting = os.environ.get(SAVES_VARIABLE, "")
    try:
        seconds = float(setting) if setting else SECONDS_BETWEEN_SAVES
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise InputError(f"{SAVES_VARIABLE} is '{setting}'; set it to a number of seconds, such as 60")
    return seconds


def _copy_of_state(trainer: Trainer, folder: Path, beside: Write) -> Write:
    """What writes the state of a training as it is now into a folder, whatever the training does
    meanwhile. The small files are written at once."""
    trainer.store_flos()
    copies: dict[Any, torch.Tensor] = {}
    weights = sharding.whole_on_first(trainer.model.state_dict(), copies)
    optimizer = sharding.whole_on_first(trainer.optimizer.state_dict(), copies)
    folder.mkdir(parents=True, exist_ok=True)
    trainer._save_rng_state(str(folder))  # of each process under a name of its own
    if sharding.group().rank == 0:
        torch.save(trainer.lr_scheduler.state_dict(), folder / "scheduler.pt")
        trainer._save_scaler(str(folder))
        trainer.state.save_to_json(str(folder / f".{STATE}"))
    sharding.any_process(False)  # all have written theirs before the first says that the folder is complete

    def write(folder: Path) -> None:
        beside(folder)
        trainer._save(str(folder), state_dict=weights)
        torch.save(optimizer, folder / "optimizer.pt")
        (folder / f".{STATE}").replace(folder / STATE)

    return write
