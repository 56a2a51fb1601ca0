"""Checksums of what is on disk, and which parts of a cache no longer match theirs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xxhash

from store.artifacts import Artifact
from store.errors import StoreError

BLOCK = 1 << 20  # bytes read at a time


Known = Mapping[Path, Sequence[tuple[int, np.ndarray]]]  # by file: arrays and the offsets they lie at


def checksum(path: Path, known: Known | None = None) -> str:
    """XXH3 (128 bit) of a file, or of the names and contents of all files below a folder.

    What is `known` to lie in a file is not read back from it.
    """
    known = known or {}
    if path.is_file():
        return _of_file(path, known.get(path, ()))
    total = xxhash.xxh3_128()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{_of_file(file, known.get(file, ()))}\n".encode())
    return total.hexdigest()


def _of_file(path: Path, known: Sequence[tuple[int, np.ndarray]]) -> str:
    total = xxhash.xxh3_128()
    size = path.stat().st_size
    with path.open("rb", buffering=0) as stream:
        for offset, values in [*known, (size, np.empty(0, np.uint8))]:
            while stream.tell() < offset:
                block = stream.read(min(BLOCK, offset - stream.tell()))
                if not block:
                    raise StoreError(f"{path} ends too early")
                total.update(block)
            total.update(memoryview(values.reshape(-1).view(np.uint8)))  # type: ignore[arg-type]
            stream.seek(offset + values.nbytes)
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
