"""Checksums of what is on disk, and which parts of a cache no longer match theirs."""

import mmap
from pathlib import Path

import xxhash

from store.artifacts import Artifact


def checksum(path: Path) -> str:
    """XXH3 (128 bit) of a file, or of the names and contents of all files below a folder."""
    if path.is_file():
        if path.stat().st_size == 0:
            return xxhash.xxh3_128_hexdigest(b"")
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as content:
            return xxhash.xxh3_128_hexdigest(content)
    total = xxhash.xxh3_128()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{checksum(file)}\n".encode())
    return total.hexdigest()


def damaged_parts(artifact: Artifact) -> list[tuple[str, str]]:
    """(file, reason) for everything in a cache that is not as it was written."""
    described = artifact.manifest["outputs"]["cache"]
    expected = {part["file"]: part["checksum"] for part in described["parts"]}
    expected["examples.npz"] = described["examples_checksum"]
    bad = []
    for file, wanted in expected.items():
        path = artifact.path / file
        if not path.exists():
            bad.append((file, "missing"))
        elif checksum(path) != wanted:
            bad.append((file, "differs from its checksum"))
    return bad
