"""Small operations on files, and what their failures mean."""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

CANNOT_WRITE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
}
FULL = 1 << 20  # bytes free, below which a disk counts as full


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the whole file or none: temporary name, fsync, rename."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, ensure_ascii=False)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def folder_bytes(folder: Path) -> int:
    """Size on disk of a file, or of all files below a folder, in bytes."""
    return sum(p.stat().st_size for p in [folder, *folder.rglob("*")] if p.is_file())


def flush(path: Path) -> None:
    """Bring a file, or all files below a folder, onto the disk itself."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def delete(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_if_empty(folder: Path) -> None:
    """Delete a folder that has nothing in it; anything else stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def why_unwritable(error: Exception, root: Path) -> str | None:
    """Why the store cannot be written to, if that is what an error is about, else None.

    Some libraries say it in words of their own, some say something else when the disk is full.
    """
    if isinstance(error, OSError) and error.errno is not None:
        in_store = error.filename is None or Path(str(error.filename)).is_relative_to(root)
        return error.strerror if in_store and error.errno in CANNOT_WRITE else None
    said = [os.strerror(number) for number in CANNOT_WRITE if os.strerror(number) in str(error)]
    if said:
        return said[0]
    try:
        full = shutil.disk_usage(root).free < FULL
    except OSError as unreachable:
        return unreachable.strerror
    return os.strerror(errno.ENOSPC) if full else None
