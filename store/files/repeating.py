"""Something done again and again beside the work that depends on it."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeated(action: Callable[[], bool], seconds: float, name: str) -> Iterator[None]:
    """Call `action` every so many seconds for as long as the block runs, from a thread of its own, until it
    returns False."""
    over = threading.Event()

    def repeat_until_over() -> None:
        while not over.wait(seconds):
            if not action():
                return

    thread = threading.Thread(target=repeat_until_over, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
