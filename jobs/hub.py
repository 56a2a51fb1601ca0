"""The hub: what is asked of it, and its errors in one line each. Tokens come from the environment only."""

import functools
import os
from pathlib import Path
from typing import Any, Literal

from microtome.store.errors import InputError, MissingError, model_packages

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


@functools.cache
@model_packages("asking the hub")
def model_commit(repo: str) -> tuple[str, bool]:
    """The commit that `main` stands at, and whether it has safetensors; offline, from the local cache."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if offline():
        try:
            config = try_to_load_from_cache(repo, "config.json")
        except HFValidationError as error:
            raise _explained(error, repo, "model") from None
        if not isinstance(config, str):
            raise MissingError(f"model '{repo}' is not in the hub's local cache and HF_HUB_OFFLINE is set")
        folder = Path(config).parent
        if not any(
            path.suffix in (".safetensors", ".bin") for path in folder.iterdir()
        ):  # it was only planned
            raise MissingError(
                f"the weights of model '{repo}' are not in the hub's local cache, and HF_HUB_OFFLINE is set"
            )
        return folder.name, any(folder.glob("*.safetensors"))
    try:
        info = HfApi().model_info(repo)
    except Exception as error:
        raise _explained(error, repo, "model") from None
    files = [sibling.rfilename for sibling in info.siblings or []]
    return str(info.sha), any(name.endswith(".safetensors") for name in files)


def cached_commit(repo: str) -> str | None:
    """The commit at which the hub's local cache has a model, if it has it; nothing is asked."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ModuleNotFoundError:  # an install without models
        return None
    main = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "refs" / "main"
    try:
        commit = main.read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if (main.parents[1] / "snapshots" / commit / "config.json").is_file() else None


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
