"""The hub: what is asked of it, and its errors in one line each. Tokens come from the environment only."""

import functools
import os
from pathlib import Path
from typing import Any, Literal

from store.errors import MissingError

MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]  # no pickles, no code


def offline() -> bool:
    """Whether the user has said not to ask the hub."""
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


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
def model_commit(repo: str) -> tuple[str, bool]:
    """The commit that `main` stands at, and whether it has safetensors; offline, from the local cache."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    if offline():
        config = try_to_load_from_cache(repo, "config.json")
        if not isinstance(config, str):
            raise MissingError(f"model '{repo}' is not in the hub's local cache and HF_HUB_OFFLINE is set")
        folder = Path(config).parent
        return folder.name, any(folder.glob("*.safetensors"))
    try:
        info = HfApi().model_info(repo)
    except Exception as error:
        raise _explained(error, repo, "model") from None
    files = [sibling.rfilename for sibling in info.siblings or []]
    return str(info.sha), any(name.endswith(".safetensors") for name in files)


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
    first = (str(error) or type(error).__name__).splitlines()[0]
    return MissingError(f"{repo_type} '{repo}': the hub could not be reached ({first[:120]})")
