"""What a user asked to be written: there whole, or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from microtome.store.errors import InputError
from microtome.store.files.operations import flush, remove_if_empty

NAME = 60  # characters of a name that go into that of its staging place, which must not be too long itself


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write to that becomes `path` when the block ends well; otherwise nothing of it stays.

    Folders above it are made. A link is followed; what is there and no file, such as a pipe or /dev/stdout,
    is written to as it is. InputError in one line where `path` cannot be written, before the block has begun.
    """
    target = Path(os.path.realpath(path))
    with _explained(path, target):
        if _is_there(target) and not target.is_file():
            if target.is_dir():
                raise InputError(f"cannot write {path}: it is a folder, not a file")
            yield target
            return
        with _parents(target):
            staged = target.with_name(f".{target.name[:NAME]}.{os.getpid()}")
            try:
                staged.touch()
                yield staged
                if target.exists():
                    shutil.copymode(target, staged)
                flush(staged)
                staged.replace(target)
            finally:
                staged.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all; see `whole_file`."""
    with whole_file(path) as staged:
        staged.write_text(text, "utf-8", newline="\n")


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill that becomes `path` when the block ends well; otherwise nothing of it stays.

    Folders above it are made. InputError where there is something already that is no empty folder, and where
    it cannot be written, before the block has begun.
    """
    target = Path(os.path.realpath(path))
    with _explained(path, target):
        if _is_there(target) and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{path} exists and is not empty; choose another folder or remove it")
        with (
            _parents(target),
            tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:NAME]}.") as aside,
        ):
            staged = Path(aside) / "whole"
            staged.mkdir()
            yield staged
            staged.rename(target)


def _is_there(target: Path) -> bool:
    """Also of a link that leads to itself; OSError for a name that cannot be one."""
    try:
        target.lstat()
    except FileNotFoundError:
        return False
    if target.is_symlink():  # though links were followed
        raise InputError(f"cannot write {target}: a link that leads to itself")
    return True


@contextlib.contextmanager
def _parents(target: Path) -> Iterator[None]:
    """The folders above a path; those that had to be made go again if nothing comes into them."""
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            remove_if_empty(folder)
        raise


@contextlib.contextmanager
def _explained(path: Path, target: Path) -> Iterator[None]:
    """An OSError of writing here as one line; one about anything else is left as it is."""
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename
        if place is not None and not _is_ours(Path(os.fsdecode(place)), target):
            raise
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _is_ours(place: Path, target: Path) -> bool:
    """Whether a path is the target, a folder above it, or in its staging place."""
    staging = f".{target.name[:NAME]}."
    beside = place.parts[len(target.parent.parts) :][:1] if place.is_relative_to(target.parent) else ()
    return place in (target, *target.parents) or any(name.startswith(staging) for name in beside)
