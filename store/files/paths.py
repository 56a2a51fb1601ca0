"""Paths as people write them: with `~` for a home, and too long or with a NUL by mistake."""

import os
from pathlib import Path

from microtome.store.errors import InputError


def place(written: str | Path) -> Path:
    """A path that a person wrote, in an option, a file or the environment; `~` is a home folder."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        raise InputError(
            f"no home folder is known for '{Path(written).parts[0]}'; write {written} out"
        ) from None


def place_from(variable: str) -> Path | None:
    """The folder that an environment variable names, or None where it is not set."""
    written = os.environ.get(variable)
    return place(written) if written else None


def there(path: Path) -> bool:
    """Whether anything is at a path; what cannot be the name of a file is not."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def shown(written: str | Path) -> str:
    """What a person wrote, in a message: at a length that can be read."""
    text = str(written)
    return text if len(text) <= 200 else f"{text[:100]}...{text[-50:]}"
