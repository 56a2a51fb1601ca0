"""Deleting and moving: what guards everything that takes a file or a folder away."""

import shutil
from pathlib import Path

from microtome.store.errors import StoreError


def check_inside(path: Path, inside: Path) -> None:
    """StoreError unless `path` lies below the folder `inside` and no step on the way is a symbolic link.

    Whether `inside` itself is reached by a link does not matter: it is the folder that was asked for.
    """
    if not path.is_relative_to(inside) or path == inside or ".." in path.relative_to(inside).parts:
        raise StoreError(f"{path} is not in {inside} and is left alone")
    step = inside
    for part in path.relative_to(inside).parts:
        step = step / part
        if step.is_symlink():
            raise StoreError(
                f"{step} is a symbolic link, which microtome neither follows nor removes. Put a folder there"
            )


def remove(path: Path, *, inside: Path) -> None:
    """Delete a folder with all it holds, or a file, that lies below `inside`; nothing if it is not there.

    Nothing that has content is deleted anywhere else. StoreError, and nothing is touched, if the path leads
    out of `inside` or over a symbolic link; OSError if the system refuses.
    """
    check_inside(path, inside)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
