"""What jobs that died left in a store: how it is found and removed."""

import os
import re
import time
from collections.abc import Collection
from pathlib import Path

from microtome.store.artifacts.catalogue import SCRATCH, STAGING, Catalogue
from microtome.store.artifacts.manifest import MANIFEST
from microtome.store.errors import StoreError
from microtome.store.files.locks import SUFFIX, lock_path, reserved_if_unused
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
    folders = [store.root / kind / name for kind in kinds for name in store.names(kind)]
    damaged = {p for p in folders if not there(p / MANIFEST) or store.damage(p) is not None}
    scratch = {p / SCRATCH for p in folders if p not in damaged}
    scratch = {p for p in scratch if p.is_dir() and not p.is_symlink()}
    leftovers = []
    for folder in sorted(staged | damaged | scratch):
        with reserved_if_unused(folder) as unused:
            if unused and _last_written(folder) <= time.time() - older_than:
                leftovers.append(folder)
    return tuple(leftovers)


def discard(store: Catalogue, leftover: Path) -> bool:
    """Delete a leftover; False if it has come to use since."""
    folder, staged = _checked(store, leftover)
    with reserved_if_unused(leftover) as unused:
        whole = not staged and there(leftover / MANIFEST) and store.damage(leftover) is None
        if not unused or whole:
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
    paths = [path for path in (folder, lock_path(folder), *folder.rglob("*")) if there(path)]
    return max((path.lstat().st_mtime for path in paths), default=0.0)
