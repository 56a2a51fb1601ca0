"""Who may read what is in the store: what the umask allows, and of private artifacts their owner alone."""

import os
import stat
from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


def make_folder(folder: Path, *, private: bool) -> None:
    """Make a folder unless it is there; a private one is closed to others from the beginning."""
    folder.mkdir(mode=PRIVATE_FOLDER if private else 0o777, exist_ok=True)
    if private:
        folder.chmod(PRIVATE_FOLDER)


def open_log(path: Path, flags: int, *, private: bool) -> int:
    """An opener of a log; a private one is closed to others, also where an earlier one was not."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE if private else 0o666)
    if private:
        os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def settle(folder: Path, like: Path, *, private: bool) -> None:
    """Give everything below a folder, and the folder, the same rights: those of the owner alone if it is
    private, else those of the file `like`, which was made under the umask. Libraries have rules of their own.
    """
    file_mode = PRIVATE_FILE if private else stat.S_IMODE(like.stat().st_mode) & 0o666
    folder_mode = file_mode | (file_mode & 0o444) >> 2  # who may read a file may enter its folder
    for path in [*folder.rglob("*"), folder]:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue
        mode = folder_mode if stat.S_ISDIR(status.st_mode) else file_mode
        kept = stat.S_IMODE(status.st_mode) & 0o7000  # a folder may hand its group on
        if stat.S_IMODE(status.st_mode) == mode | kept:
            continue
        try:
            path.chmod(mode | kept)
        except PermissionError:  # another user's file, or a disk without rights
            if private:
                raise
