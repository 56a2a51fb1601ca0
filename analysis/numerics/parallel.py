"""Work on the rows of large arrays: cut into blocks that fit a core's cache, spread over all cores.

Results do not depend on the number of cores.
"""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

BLOCK_BYTES = 1 << 20
TASKS_PER_CORE = (
    4  # a thread gets several blocks at once, few enough that all cores end at about the same time
)

Result = TypeVar("Result")


def map_row_blocks(function: Callable[[slice], Result], rows: int, row_bytes: int) -> list[Result]:
    """What `function` returns for each block of `rows` rows of `row_bytes` bytes, in their order.

    Within `function` linear algebra has one thread. `function` must not call this itself.
    """
    size = max(1, BLOCK_BYTES // max(1, row_bytes))
    blocks = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    pool, cores = _thread_pool(os.getpid())
    per_task = max(1, len(blocks) // (TASKS_PER_CORE * cores))
    tasks = [blocks[start : start + per_task] for start in range(0, len(blocks), per_task)]
    with linear_algebra_threads().limit(limits=1):
        results = pool.map(lambda task: [function(block) for block in task], tasks)
        return list(itertools.chain.from_iterable(results))


@functools.cache
def linear_algebra_threads() -> ThreadpoolController:
    """What limits the threads of numpy's and scipy's linear algebra. Kept, because looking for the libraries
    takes longer than a step of a solver."""
    return ThreadpoolController().select(user_api="blas")


@functools.cache
def _thread_pool(process: int) -> tuple[ThreadPoolExecutor, int]:
    """The threads of a process, and how many they are; a fork has to start its own."""
    setting = os.environ.get("OMP_NUM_THREADS", "")  # how many Ray has given to this task
    cores = (int(setting) if setting.isdigit() else 0) or os.cpu_count() or 1
    return ThreadPoolExecutor(cores, "row-block"), cores
