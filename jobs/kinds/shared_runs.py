"""How jobs of a kind share what is dear: a process that has loaded a model, and passes through it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from microtome.store.artifacts.store import Staging, Store


class Making(NamedTuple):
    """A job that is run, and the folder in which its artifact is made."""

    job: Any  # of the kind that says how its jobs are shared
    staging: Staging


RunPass = Callable[[Sequence[Making], Store], None]


@dataclass(frozen=True, kw_only=True)
class SharedRuns:
    """Jobs with one `process_key` are run in one process, if they can be run at the same time. `passes`
    divides them into those that are made together, in the order in which that is done; within `one_process`
    each of these is given to the function that it yields."""

    process_key: Callable[[Any], str]
    passes: Callable[[Sequence[Any]], list[list[Any]]]
    one_process: Callable[[], AbstractContextManager[RunPass]]
