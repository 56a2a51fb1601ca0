"""The hub's local cache, as huggingface_hub lays it out: a folder of links per commit, to files that are
named by a digest of their bytes. Nothing here asks the hub."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from microtome.store.errors import MissingError
from microtome.store.files.removal import remove

SHA256 = re.compile("[0-9a-f]{64}")
GIT_DIGEST = re.compile("[0-9a-f]{40}")  # of small files, and of commits
MAIN = "main"


def offline() -> bool:
    """Whether the user has said not to ask the hub."""
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def cached_commit(repo: str, revision: str = MAIN, *, pickled: bool = False) -> str | None:
    """The commit at which the local cache has a model with config and weights, which may be `pickled`; None
    if it has not."""
    folder = _repo_folder(repo)
    if folder is None:
        return None
    commit = revision if GIT_DIGEST.fullmatch(revision) else _read_revision(folder, revision)
    if commit is None:
        return None
    snapshot = folder / "snapshots" / commit
    patterns = ("*.safetensors", "pytorch_model*.bin") if pickled else ("*.safetensors",)
    weights = any(any(snapshot.glob(pattern)) for pattern in patterns)
    return commit if weights and (snapshot / "config.json").is_file() else None  # else it was only planned


def cached_files(repo: str, commit: str) -> Mapping[str, str | None]:
    """The files that the local cache has of a commit, at the top of the repository: the sha256 of each large
    one, which its name in the cache tells, and None for others."""
    folder = _repo_folder(repo)
    assert folder is not None
    snapshot = folder / "snapshots" / commit
    return {path.name: _told_digest(path) for path in sorted(snapshot.iterdir()) if path.is_file()}


def cached_snapshot(repo: str, repo_type: str, revision: str | None, names: Iterable[str]) -> Path | None:
    """The folder of a revision in the local cache; None unless it has all of these files."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    folder = None
    for name in names:
        try:
            path = try_to_load_from_cache(repo, name, revision=revision, repo_type=repo_type)
        except HFValidationError:
            return None
        if not isinstance(path, str):
            return None
        folder = Path(path.removesuffix(name))
    return folder


def remember_revision(repo: str, revision: str, commit: str) -> None:
    """Note that a revision is this commit, whose files the local cache has: it is found without the hub."""
    folder = _repo_folder(repo)
    if folder is None or revision == commit or not (folder / "snapshots" / commit).is_dir():
        return
    file = folder / "refs" / revision
    if _read_revision(folder, revision) != commit:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(commit, "ascii")


def check_bytes(repo: str, paths: Iterable[Path], sha256: Callable[[Path], str]) -> None:
    """MissingError if a file does not have the bytes that the hub announced: a link in the local cache leads
    to a file that is named by their digest. What is wrong is removed, so that it is downloaded again."""
    for path in paths:
        announced = Path(os.path.realpath(path)).name
        if not path.is_symlink():
            continue
        if SHA256.fullmatch(announced):
            digest = sha256(path)
        elif GIT_DIGEST.fullmatch(announced):
            digest = _git_digest(path)
        else:
            continue
        if digest != announced:
            blob = Path(os.path.realpath(path))
            remove(blob, inside=blob.parent)
            path.unlink()
            raise MissingError(
                f"'{repo}': {path.name} does not have the bytes that the hub announced ({announced[:8]}, not "
                f"{digest[:8]}). It was removed from the hub's local cache; the same command gets it again"
            )


def file_sha256(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git_digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _told_digest(path: Path) -> str | None:
    name = Path(os.path.realpath(path)).name
    return name if path.is_symlink() and SHA256.fullmatch(name) else None


def _repo_folder(repo: str) -> Path | None:
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:  # an install without models
        return None
    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def _read_revision(folder: Path, revision: str) -> str | None:
    try:
        return (folder / "refs" / revision).read_text("ascii").strip() or None
    except (OSError, ValueError):
        return None
