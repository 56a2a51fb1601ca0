"""The version of the code that turns files into examples and documents."""

import functools
import hashlib
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
READING = ("jobs/data", "jobs/tasks/types")


@functools.cache
def code_version(folders: tuple[str, ...] = READING) -> str:
    """A digest of the code in some folders of the package, and of the version of Python. What is remembered
    of rows holds for the code that read them, and nobody has to raise a number."""
    total = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for path in sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py")):
        total.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
