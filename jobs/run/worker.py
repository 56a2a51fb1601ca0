"""What a worker on another machine is given of its driver's environment, and the threads that it runs."""

import contextlib
import os
from collections.abc import Iterator, Mapping

from threadpoolctl import threadpool_limits

from microtome.jobs.process import tracking

# What the jobs need to find data, models, the hub, object storage and the tracker. The driver's value is used
# where the node has none of its own, which says where things are on that machine.
SETTINGS = (
    *("MICROTOME_DATA", "MICROTOME_MODELS", "MICROTOME_SCRATCH", "MICROTOME_LOCAL_GB"),
    *("MICROTOME_SAVE_SECONDS", "MICROTOME_DEBUG"),
    *("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"),
    *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("GOOGLE_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
    *tracking.SETTINGS,
)
# A key that the driver has is not to be mixed with another that the node has.
TOGETHER = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def environment_for_workers() -> dict[str, str]:
    """The listed variables that this process has. They travel as the argument of a task, which no log
    shows."""
    return {name: os.environ[name] for name in SETTINGS if name in os.environ}


def use_settings(settings: Mapping[str, str]) -> None:
    """Set in this process what the driver has set and this node has not."""
    has_key = any(name in os.environ for name in TOGETHER)
    for name, value in settings.items():
        if not (has_key and name in TOGETHER):
            os.environ.setdefault(name, value)


@contextlib.contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Within, linear algebra, torch and our own work on rows run as many threads as the job has CPUs for."""
    os.environ["OMP_NUM_THREADS"] = str(
        threads
    )  # for what is imported from here on, and numerics/parallel.py
    with threadpool_limits(limits=threads):
        yield
