"""The hub: what is asked of it, and its errors in one line each. Tokens come from the environment only."""

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from microtome.store.errors import InputError, MissingError, model_packages

SHA256 = re.compile("[0-9a-f]{64}")
MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]  # no pickles, no code


def offline() -> bool:
    """Whether the user has said not to ask the hub."""
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


@model_packages("asking the hub")
def download_files(
    repo: str, revision: str | None, patterns: list[str], repo_type: Literal["model", "dataset"] = "model"
) -> Path:
    """The folder of a snapshot with the matching files, from the hub's local cache where it has them."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repo,
            repo_type=repo_type,
            revision=revision,
            allow_patterns=patterns,
            local_files_only=offline(),
        )
    except Exception as error:
        raise _explained(error, repo, repo_type) from None
    return Path(folder)


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
def hub_model(repo: str) -> HubModel:
    """What stands at `main`; offline, what the local cache has of it. Nothing is downloaded."""
    from huggingface_hub import HfApi

    if offline():
        return _cached_model(repo)
    try:
        info = HfApi().model_info(repo, files_metadata=True)
    except Exception as error:
        raise _explained(error, repo, "model") from None
    siblings = [sibling for sibling in info.siblings or [] if "/" not in sibling.rfilename]
    files = {sibling.rfilename: sibling.lfs.sha256 if sibling.lfs else None for sibling in siblings}
    return HubModel(str(info.sha), files)


def _cached_model(repo: str) -> HubModel:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repo, "config.json")
    except HFValidationError as error:
        raise _explained(error, repo, "model") from None
    if not isinstance(config, str):
        raise MissingError(f"model '{repo}' is not in the hub's local cache and HF_HUB_OFFLINE is set")
    folder = Path(config).parent
    paths = [path for path in folder.iterdir() if path.is_file()]
    if not any(path.suffix in (".safetensors", ".bin") for path in paths):  # it was only planned
        raise MissingError(
            f"the weights of model '{repo}' are not in the hub's local cache, and HF_HUB_OFFLINE is set"
        )
    return HubModel(folder.name, {path.name: _blob_digest(path) for path in paths})


def _blob_digest(path: Path) -> str | None:
    """The sha256 of a file in the local cache: it is a link to a blob, which is named by its sha256 if it is
    large. None for a small one, whose blob has the shorter name that git gives it."""
    name = Path(os.path.realpath(path)).name
    return name if path.is_symlink() and SHA256.fullmatch(name) else None


def cached_commit(repo: str) -> str | None:
    """The commit at which the hub's local cache has a model and its weights, if it does; nothing is asked."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ModuleNotFoundError:  # an install without models
        return None
    main = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "refs" / "main"
    try:
        commit = main.read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    folder = main.parents[1] / "snapshots" / commit
    whole = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return commit if whole else None  # else it was only planned, or has pickled weights


def check_repo_name(repo: str) -> None:
    """InputError unless the hub could have a model of this name; nothing is asked."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"'{repo}' is no name for a repository ({_first_line(error)})") from None


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
        made = api.create_repo(repo, private=private, exist_ok=True)
        exposed = private and api.model_info(made.repo_id).private is False
        if not exposed:
            api.upload_folder(folder_path=folder, repo_id=made.repo_id, commit_message=message)
    except Exception as error:
        raise _not_written(error, repo) from None
    if exposed:
        raise InputError(
            f"'{repo}' is there already, and public: make it private on the hub, or say --public"
        )
    return str(made)


def _not_written(error: Exception, repo: str) -> MissingError:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled):
        reason = "HF_HUB_OFFLINE is set"
    elif status == 401:
        reason = "the hub does not know this HF_TOKEN"
    elif status == 403:
        reason = (
            "this HF_TOKEN may not write there; it needs write access, and you the right to the namespace"
        )
    elif status is not None:
        reason = f"the hub refused ({_first_line(error)})"
    else:
        reason = f"the hub could not be reached ({_first_line(error)})"
    return MissingError(f"cannot push to '{repo}': {reason}")


def _explained(error: Exception, repo: str, repo_type: str) -> MissingError:
    from huggingface_hub import errors

    reasons: list[tuple[type[Exception] | tuple[Any, ...], str]] = [
        (errors.GatedRepoError, "needs an agreement on its page and HF_TOKEN in the environment"),
        (errors.RepositoryNotFoundError, "does not exist on the hub, or is private (set HF_TOKEN)"),
        (errors.RevisionNotFoundError, "has no such revision"),
        (
            errors.LocalEntryNotFoundError,
            "is not in the hub's local cache, and the hub was not asked or not reached",
        ),
        (errors.OfflineModeIsEnabled, "is not in the hub's local cache and HF_HUB_OFFLINE is set"),
        (errors.HFValidationError, "is not a name the hub could have"),
    ]
    for kind, reason in reasons:
        if isinstance(error, kind):
            return MissingError(f"{repo_type} '{repo}' {reason}")
    return MissingError(f"{repo_type} '{repo}': the hub could not be reached ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
