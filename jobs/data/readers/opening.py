"""Text files, opened in one place: UTF-8 with or without a byte-order mark, as it is or gzipped."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, cast

from microtome.store.errors import InputError

_opened: ContextVar[set[Path] | None] = ContextVar("opened", default=None)
_encoding: ContextVar[str] = ContextVar("encoding", default="utf-8")


class EncodingError(InputError):
    """A text file that is not in the encoding that it is read in."""


@contextmanager
def encoded_as(encoding: str) -> Iterator[None]:
    """Text files that are read within this context are in this encoding."""
    token = _encoding.set(encoding)
    try:
        yield
    finally:
        _encoding.reset(token)


@contextmanager
def noting_files() -> Iterator[set[Path]]:
    """The set of the files and folders that are read within this context."""
    paths: set[Path] = set()
    token = _opened.set(paths)
    try:
        yield paths
    finally:
        _opened.reset(token)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what can go wrong with a file into one line about that file."""
    opened = _opened.get()
    if opened is not None:
        opened.add(path)
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a file") from None
    except FileNotFoundError:
        raise InputError(f"{path}: No such file or directory") from None
    except gzip.BadGzipFile as error:
        raise InputError(f"{path}: not a gzip file, or a damaged one ({error})") from None
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: a damaged gzip file ({error})") from None
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise InputError(f"{path}: {reason.splitlines()[0]}") from None


def text_lines(path: Path, *, keep_ends: bool = False) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a text file, one line in memory. A byte-order mark is left out.

    A line ends with LF or CRLF, which is taken off unless `keep_ends`: then carriage returns are the
    caller's. InputError names the line that is not UTF-8 or holds a NUL, or a carriage return inside.
    """
    with reading(path), _binary(path) as stream:
        utf8 = _encoding.get().lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
        lines = (
            (_decoded(line, i, path) for i, line in enumerate(stream, start=1))
            if utf8
            else _lines(stream, path)
        )
        for number, text in enumerate(lines, start=1):
            if not keep_ends:
                text = text.rstrip("\r\n")
                if "\r" in text:
                    raise InputError(
                        f"{path}:{number}: a carriage return inside a line; end lines with LF or CRLF"
                    )
            yield number, text


def whole_text(path: Path) -> str:
    """A text file with its line ends as they are, without a byte-order mark."""
    return "".join(line for _, line in text_lines(path, keep_ends=True))


def _lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    """The lines of a file in another encoding than UTF-8, where a line end need not be one byte."""
    data, encoding = stream.read(), _encoding.get()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise EncodingError(f"{path}: not {encoding} at byte {error.start}") from None
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if "\0" in line:
            raise InputError(f"{path}:{number}: holds a NUL; this is no text file, or not in {encoding}")
        yield line + "\n"


def _decoded(line: bytes, number: int, path: Path) -> str:
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EncodingError(f"{path}:{number}: not UTF-8 at byte {error.start} of the line") from None
    if "\0" in text:
        raise InputError(f"{path}:{number}: holds a NUL byte; this is no text file")
    return text


def _binary(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked if its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
