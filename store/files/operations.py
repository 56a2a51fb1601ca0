"""Small operations on files, and what their failures mean."""

import contextlib
import errno
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from microtome.store.errors import StoreError

CANNOT_WRITE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
}
ALIGNMENT = 4096  # bytes, of memory and of offsets in files
DIRECT_BYTES = 1 << 20  # below this the page cache does no harm
TEMPORARY = ".tmp"  # ends the name of a file that is not whole yet
FULL = 1 << 20  # bytes; a disk with less free space counts as full


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the whole file or none: temporary name, fsync, rename.

    The temporary name is this write's own, so that any number of processes may write the same path.
    StoreError for a number that is not finite, which JSON cannot say.
    """
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise StoreError(f"cannot write {path.name}: a number in it is not finite ({error})") from None
    temporary = path.with_name(f"{_temporary_prefix(path)}{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        # What UTF-8 cannot hold is written as JSON's own escape.
        with temporary.open("x", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished_writes(path: Path) -> None:
    """Delete the temporary files that killed writers of a JSON file left; the caller keeps others out."""
    for name in os.listdir(path.parent):  # noqa: PTH208 - names are enough
        if name.startswith(_temporary_prefix(path)) and name.endswith(TEMPORARY):
            (path.parent / name).unlink(missing_ok=True)


def _temporary_prefix(path: Path) -> str:
    """How the names of the temporary files of `path` begin."""
    return f".{path.name}."


def folder_bytes(folder: Path) -> int:
    """Size of a file, or of all files below a folder, in bytes; symbolic links are not followed."""
    if not folder.is_dir():
        return folder.stat().st_size if folder.is_file() else 0
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += folder_bytes(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def write_bytes(path: Path, offset: int, values: np.ndarray) -> None:
    """Write the bytes of a contiguous array into an existing file, from `offset` on.

    Large arrays go past the page cache where memory and offset are aligned and the filesystem takes it: no
    copy is made, and what else lies in memory stays there.
    """
    data = memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    done = 0
    if values.ctypes.data % ALIGNMENT == 0 and offset % ALIGNMENT == 0 and len(data) >= DIRECT_BYTES:
        done = _write_direct(path, offset, data[: len(data) // ALIGNMENT * ALIGNMENT])
    with path.open("r+b", buffering=0) as stream:
        stream.seek(offset + done)
        while done < len(data):
            done += stream.write(data[done:])


def _write_direct(path: Path, offset: int, data: memoryview) -> int:
    """Write with O_DIRECT; returns how many bytes, which are none where that cannot be done."""
    if not hasattr(os, "O_DIRECT"):
        return 0
    done = 0
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
        try:
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], offset + done)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    return done


def aligned_memory(size: int) -> np.ndarray:
    """uint8 [size] that `write_bytes` can write without a copy."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def flush(path: Path) -> None:
    """Force a file, or all files below a folder, onto the disk (fsync)."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def remove_if_empty(folder: Path) -> None:
    """Delete an empty folder; a folder with content stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def why_unwritable(error: Exception, root: Path) -> str | None:
    """Why the store cannot be written to, if this is the cause of an error, else None.

    Some libraries put the system's message into an error of their own; some hide it when the disk is full.
    """
    if isinstance(error, OSError) and error.errno is not None:
        in_store = error.filename is None or Path(str(error.filename)).is_relative_to(root)
        return error.strerror if in_store and error.errno in CANNOT_WRITE else None
    reasons = [os.strerror(number) for number in CANNOT_WRITE if os.strerror(number) in str(error)]
    if reasons:
        return reasons[0]
    try:
        full = shutil.disk_usage(root).free < FULL
    except OSError as unreachable:
        return unreachable.strerror
    return os.strerror(errno.ENOSPC) if full else None
