"""Memory that a process has freed stays with it for the next array."""

import contextlib
import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
KEPT = 1 << 30  # bytes


def keep_freed_memory() -> None:
    """Tell the C library not to give arrays below 1 GiB back to the system when they are freed.

    Numpy and torch ask it for every temporary. What comes fresh from the system is touched page by page
    first, which can take longer than what is computed in it. Elsewhere than with glibc, nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            library.mallopt(parameter, KEPT)
