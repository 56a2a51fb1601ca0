"""Work on the rows of large arrays: cut into blocks that fit a core's cache, spread over all cores.

What comes out does not depend on how many cores there are.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

BLOCK_BYTES = 1 << 20

Found = TypeVar("Found")


def by_blocks(function: Callable[[slice], Found], rows: int, row_bytes: int) -> list[Found]:
    """What `function` returns for each block of rows, in their order. Its linear algebra has one thread, and
    it does not call this in turn."""
    size = max(1, BLOCK_BYTES // max(1, row_bytes))
    blocks = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    with blas().limit(limits=1):
        return list(_threads(os.getpid()).map(function, blocks))


@functools.cache
def blas() -> ThreadpoolController:
    """The threads of the linear algebra; looking for them takes longer than a step of a solver."""
    return ThreadpoolController().select(user_api="blas")


@functools.cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Those of a process: a fork of it has none of them."""
    told = os.environ.get("OMP_NUM_THREADS", "")  # Ray says here how many are this task's
    return ThreadPoolExecutor(int(told) if told.isdigit() else os.cpu_count(), "block")
