"""Work on the rows of large arrays: cut into blocks that fit a core's cache, spread over all cores.

What comes out does not depend on how many cores there are.
"""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

BLOCK_BYTES = 1 << 20
PIECES = 4  # of the blocks, per core: so that cores end at about the same time

Found = TypeVar("Found")


def by_blocks(function: Callable[[slice], Found], rows: int, row_bytes: int) -> list[Found]:
    """What `function` returns for each block of rows, in their order. Its linear algebra has one thread, and
    it does not call this in turn."""
    size = max(1, BLOCK_BYTES // max(1, row_bytes))
    blocks = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    threads, cores = _threads(os.getpid())
    several = max(1, len(blocks) // (PIECES * cores))  # handed over together: each hand-over takes time
    groups = [blocks[start : start + several] for start in range(0, len(blocks), several)]
    with blas().limit(limits=1):
        found = threads.map(lambda group: [function(block) for block in group], groups)
        return list(itertools.chain.from_iterable(found))


@functools.cache
def blas() -> ThreadpoolController:
    """The threads of the linear algebra; looking for them takes longer than a step of a solver."""
    return ThreadpoolController().select(user_api="blas")


@functools.cache
def _threads(process: int) -> tuple[ThreadPoolExecutor, int]:
    """Those of a process, and how many: a fork of it has none of them."""
    told = os.environ.get("OMP_NUM_THREADS", "")  # Ray says here how many are this task's
    cores = (int(told) if told.isdigit() else 0) or os.cpu_count() or 1
    return ThreadPoolExecutor(cores, "block"), cores
