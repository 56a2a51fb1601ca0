"""What jobs that died left behind in a store: found, and taken away."""

import os
import re
import time
from collections.abc import Collection
from pathlib import Path

from microtome.store.artifacts.catalogue import SCRATCH, STAGING, Catalogue
from microtome.store.artifacts.manifest import MANIFEST
from microtome.store.errors import StoreError
from microtome.store.files.locks import SUFFIX, lock_path, unheld
from microtome.store.files.operations import remove_if_empty
from microtome.store.files.paths import there
from microtome.store.files.removal import check_inside, remove
from microtome.store.identity import SHORT

STAGED = re.compile(rf".+-[0-9a-f]{{{SHORT}}}\.\d+")  # the folder of an artifact in the making


def find(store: Catalogue, kinds: Collection[str], older_than: float) -> tuple[Path, ...]:
    """Folders that nothing can use and nothing has written to for `older_than` seconds: staging folders
    that no living process holds, artifacts of `kinds` that are damaged or half removed, which have no
    manifest, and what was left in an artifact by a job that was killed as it ended."""
    area = store.root / STAGING
    names = [] if area.is_symlink() or not area.is_dir() else os.listdir(area)  # noqa: PTH208
    staged = {area / name.removesuffix(SUFFIX) for name in names}
    staged = {p for p in staged if STAGED.fullmatch(p.name) and not p.is_symlink()}
    found = [store.root / kind / name for kind in kinds for name in store.names(kind)]
    useless = {p for p in found if not there(p / MANIFEST) or store.damage(p) is not None}
    left = {p / SCRATCH for p in found if p not in useless}
    free = []
    for folder in sorted(staged | useless | {p for p in left if p.is_dir() and not p.is_symlink()}):
        with unheld(folder) as nobody_works_there:
            if nobody_works_there and _last_written(folder) <= time.time() - older_than:
                free.append(folder)
    return tuple(free)


def discard(store: Catalogue, leftover: Path) -> bool:
    """Delete a leftover; False if it has come to use since."""
    folder, staged = _checked(store, leftover)
    with unheld(leftover) as nobody_works_there:
        whole = not staged and there(leftover / MANIFEST) and store.damage(leftover) is None
        if not nobody_works_there or whole:
            return False
        try:
            remove(folder, inside=store.root)
            if staged:
                remove(lock_path(folder), inside=store.root)
        except OSError as error:
            raise StoreError(f"cannot remove {leftover}: {error.strerror}") from None
    if staged:
        remove_if_empty(leftover.parent)
    return True


def _checked(store: Catalogue, leftover: Path) -> tuple[Path, bool]:
    """A folder that may be a leftover by its place and name, and whether it is one of staging."""
    check_inside(leftover, store.root)
    if leftover.parent == store.root / STAGING and STAGED.fullmatch(leftover.name):
        return leftover, True
    if leftover.name == SCRATCH:
        return store.own(leftover.parent) / SCRATCH, False
    return store.own(leftover), False


def _last_written(folder: Path) -> float:
    """When anything in a folder, or its lock, was last written; 0 if there is nothing."""
    found = [path for path in (folder, lock_path(folder), *folder.rglob("*")) if there(path)]
    return max((path.lstat().st_mtime for path in found), default=0.0)
