"""Memory that a process has freed stays with it for the next array."""

import contextlib
import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
LARGEST_ARRAY = 1 << 30  # bytes


def keep_freed_memory() -> None:
    """Tell the C library to keep the memory of freed arrays below 1 GiB, in place of giving it back.

    Numpy and torch allocate every temporary array through it. Memory that is new to the process costs a page
    fault per page on first use, which can take longer than the arithmetic. Where the C library is not glibc,
    nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            library.mallopt(parameter, LARGEST_ARRAY)
