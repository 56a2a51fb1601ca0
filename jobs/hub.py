"""The hub: what is asked of it. Tokens come from the environment only.

What was downloaded once is found without it: where HF_HUB_OFFLINE is set, and where it is not reached.
"""

import functools
import logging
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from microtome.jobs.hub_cache import (
    MAIN,
    cached_commit,
    cached_files,
    cached_snapshot,
    check_bytes,
    file_sha256,
    offline,
)
from microtome.jobs.hub_errors import HubDownError, first_line, not_written, retried, with_retries
from microtome.store.errors import InputError, MissingError, model_packages

MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "chat_template.jinja"]  # no pickles, no code
CONVERTED = "refs/convert/parquet"  # where the hub puts the Parquet files that it makes of datasets
SHARD = re.compile(r"model-\d{5}-of-(\d{5})\.safetensors")


def weight_files(names: Iterable[str]) -> set[str]:
    """The one set of safetensors weights that transformers loads, among the files of a model: repositories
    also hold the same weights in other dtypes, or in one file beside the parts."""
    safe = {name for name in names if name.endswith(".safetensors")}
    if "model.safetensors" in safe:
        return {"model.safetensors"}
    parts: dict[str, set[str]] = defaultdict(set)
    for name in safe:
        match = SHARD.fullmatch(name)
        if match:
            parts[match[1]].add(name)
    # An upload with another number of parts may have left some behind: of several sets the fullest.
    return max(parts.values(), key=_completeness, default=safe)


def _completeness(names: set[str]) -> float:
    """The share that is there of weights in parts, which are named by their number."""
    match = SHARD.fullmatch(min(names))
    return len(names) / max(1, int(match[1])) if match else 0.0


def model_files(names: Collection[str]) -> list[str]:
    """The files of a model that are used: one set of weights, config and tokenizer."""
    weights = weight_files(names)
    wanted = [name for name in names if any(fnmatchcase(name, pattern) for pattern in MODEL_FILES)]
    return sorted(name for name in wanted if not name.endswith(".safetensors") or name in weights)


@model_packages("asking the hub")
def download_files(
    repo: str,
    revision: str | None,
    names: Sequence[str],
    repo_type: Literal["model", "dataset"] = "model",
) -> Path:
    """The folder of a snapshot with these files, from the hub's local cache where it has them all.

    What is downloaded has the bytes that the hub announced; MissingError if it has not.
    """
    cached = cached_snapshot(repo, repo_type, revision, names)
    if cached is not None:
        return cached
    if offline():
        raise MissingError(f"{repo_type} '{repo}' is not in the hub's local cache, and HF_HUB_OFFLINE is set")
    return with_retries(lambda: _downloaded(repo, revision, names, repo_type), repo, repo_type)


def _downloaded(repo: str, revision: str | None, names: Sequence[str], repo_type: str) -> Path:
    from huggingface_hub import snapshot_download

    present = [name for name in names if cached_snapshot(repo, repo_type, revision, [name]) is not None]
    folder = Path(snapshot_download(repo, repo_type=repo_type, revision=revision, allow_patterns=list(names)))
    for name in names:
        if not (folder / name).is_file():  # of a copy in part, which is returned where the hub is not reached
            raise HubDownError(f"{repo_type} '{repo}': there is no {name}, or the hub was not reached")
    check_bytes(repo, [folder / name for name in names if name not in present], file_sha256)
    return folder


@dataclass(frozen=True)
class HubModel:
    """A model repository as it stands. `files` are those at its top, by name: the sha256 if the hub, or its
    local cache, tells it without a look into the file, as it does for large ones; else None."""

    commit: str
    files: Mapping[str, str | None]

    @property
    def safe(self) -> bool:
        """Whether it has weights that are not pickled."""
        return any(name.endswith(".safetensors") for name in self.files)


@functools.cache
@model_packages("asking the hub")
def hub_model(repo: str, revision: str = MAIN) -> HubModel:
    """What a revision holds; where the hub is not asked or not reached, what the local cache has of it, if
    its weights are there. Nothing is downloaded."""
    from huggingface_hub import HfApi

    if offline():
        cached = _cached_model(repo, revision)
        if cached is None:
            check_repo_name(repo)
            raise MissingError(
                f"model '{repo}' is not in the hub's local cache with its weights, and HF_HUB_OFFLINE is set"
            )
        return cached
    try:
        info = with_retries(
            lambda: HfApi().model_info(repo, revision=revision, files_metadata=True), repo, "model"
        )
    except HubDownError as error:
        cached = _cached_model(repo, revision)
        if cached is None:
            raise
        logging.getLogger(__name__).warning("%s. Its local copy is used, commit %s", error, cached.commit[:8])
        return cached
    siblings = [sibling for sibling in info.siblings or [] if "/" not in sibling.rfilename]
    files = {sibling.rfilename: sibling.lfs.sha256 if sibling.lfs else None for sibling in siblings}
    return HubModel(str(info.sha), files)


def _cached_model(repo: str, revision: str) -> HubModel | None:
    commit = cached_commit(repo, revision, pickled=True)
    return HubModel(commit, cached_files(repo, commit)) if commit is not None else None


@dataclass(frozen=True)
class HubDataset:
    """A dataset repository at a commit: the files in it, and the licence that its page names, or ""."""

    commit: str
    files: tuple[str, ...]
    licence: str


@model_packages("asking the hub")
def hub_dataset(repo: str, revision: str | None = None) -> HubDataset:
    """What a revision holds; without one, the Parquet files that the hub has made of the dataset, if it has,
    else the dataset as it stands. Nothing is downloaded."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    def info_of(candidate: str) -> Any:
        try:
            return HfApi().dataset_info(repo, revision=candidate)
        except RevisionNotFoundError:
            if candidate != CONVERTED:
                raise
            return None

    if offline():
        raise MissingError(f"dataset '{repo}': HF_HUB_OFFLINE is set, and the hub is not asked")
    page = with_retries(lambda: info_of(revision or MAIN), repo, "dataset")
    at = None if revision else with_retries(lambda: info_of(CONVERTED), repo, "dataset")
    info = page if at is None else at
    licence = (page.card_data or {}).get("license") or ""
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or []))
    return HubDataset(str(info.sha), names, licence if isinstance(licence, str) else ", ".join(licence))


def check_repo_name(repo: str) -> None:
    """InputError unless the hub could have a model of this name; nothing is asked."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"'{repo}' is no name for a repository ({first_line(error)})") from None


def write_token() -> str:
    """HF_TOKEN, taken from the environment only; MissingError without it, or with the hub switched off."""
    if offline():
        raise MissingError("HF_HUB_OFFLINE is set: nothing is pushed. Unset it on a machine with network")
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise MissingError(
            "HF_TOKEN is not set: make a token with write access in the settings of your account on the hub, "
            "and export it"
        )
    return token


def upload_folder(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Put every file of a folder into a model repository, which is made if it is not there; its address.

    Raises InputError where `private` is asked for and the repository that is there is public, MissingError in
    one line where the hub refuses or is not reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=write_token())
    try:
        made = retried(lambda: api.create_repo(repo, private=private, exist_ok=True))
        exposed = private and retried(lambda: api.model_info(made.repo_id)).private is False
        if not exposed:  # what is there already of an upload that broke off is not sent again
            retried(
                lambda: api.upload_folder(folder_path=folder, repo_id=made.repo_id, commit_message=message)
            )
    except Exception as error:
        raise not_written(error, repo) from None
    if exposed:
        raise InputError(
            f"'{repo}' is there already, and public: make it private on the hub, or say --public"
        )
    return str(made)
