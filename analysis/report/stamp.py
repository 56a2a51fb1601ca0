"""The last line of a page: a digest of what it is made of, and a checksum of the page itself.

Who would make the same page again sees that from the line, and does not; a page that was edited or damaged
no longer fits its checksum.
"""

from pathlib import Path

from microtome.store.files.checksums import checksum_of


def stamped(page: str, sources: str) -> str:
    """The page with its last line."""
    return page + _line(page.encode(), sources)


def is_current(page: Path, sources: str) -> bool:
    """Whether a file is a page made of these sources, to the byte as it was written."""
    try:
        whole = page.read_bytes()
    except OSError:
        return False
    start = whole.rfind(b"<!-- sources ")
    return start >= 0 and whole[start:] == _line(whole[:start], sources).encode()


def _line(page: bytes, sources: str) -> str:
    return f"<!-- sources {sources} page {checksum_of(page)} -->\n"
