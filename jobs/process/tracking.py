"""Trackers of experiments, which the Trainer's own reporting goes to: `suite run --track NAME`."""

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from microtome.jobs.process.logs import log_progress
from microtome.store.errors import InputError, MissingError, unknown

VARIABLE = "MICROTOME_TRACK"  # read where a job runs, which may be another process or another machine
FOLDER = "TENSORBOARD_LOGGING_DIR"
TRACKERS = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboard"}  # and the package each needs
ELSEWHERE = ("wandb", "mlflow")  # what is tracked may leave this machine
# What a process that runs a job needs to report as the one that started the run would.
SETTINGS = (
    *(VARIABLE, FOLDER),
    *("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_MODE"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    "MLFLOW_EXPERIMENT_NAME",
)


def track_with(name: str) -> None:
    """Let the jobs that this process runs or starts report to a tracker. MissingError without its package."""
    if not _installed(name):
        raise MissingError(f"--track {name} needs a package: pip install {TRACKERS[name]}")
    os.environ[VARIABLE] = name
    os.environ.setdefault("WANDB_PROJECT", "microtome")
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "microtome")
    os.environ[FOLDER] = str(Path(os.environ.get(FOLDER, "runs")).absolute())


@contextlib.contextmanager
def reporting(run: str, *, private: bool) -> Iterator[str]:
    """What the Trainer takes as `report_to` for a run of this name, which ends for the tracker too.

    What is trained on data under an agreement is tracked on this machine alone.
    """
    name = os.environ.get(VARIABLE, "")
    if not name or not run:
        yield "none"
        return
    if name not in TRACKERS:
        raise unknown(VARIABLE, name, TRACKERS)
    if private and name in ELSEWHERE:
        log_progress(f"not tracked with {name}: this comes of data under an agreement")
        yield "none"
        return
    if not _installed(name):
        raise InputError(f"{VARIABLE} is {name}, whose package is not installed where this job runs")
    folder = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(Path(folder or "runs") / run.replace("/", "-"))
    try:
        yield name
    finally:
        if folder is None:
            del os.environ[FOLDER]
        else:
            os.environ[FOLDER] = folder
        _close(name)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(TRACKERS[name]) is not None


def _close(name: str) -> None:
    """The next job of this process is a run of its own."""
    with contextlib.suppress(Exception):  # a tracker that fails at its end fails no job
        if name == "wandb":
            importlib.import_module("wandb").finish()
        elif name == "mlflow":
            importlib.import_module("mlflow").end_run()
