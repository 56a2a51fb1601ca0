"""What made an artifact: versions and commit, for the manifest; never part of an identity."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("torch", "transformers", "datasets", "peft", "numpy", "zarr", "h5py", "scikit-learn", "ray")


@functools.cache
def provenance() -> dict[str, str]:
    """Python, the packages that decide numbers, and the git commit where there is one."""
    found = {"python": platform.python_version()}
    for package in ("microtome", *PACKAGES):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = _commit()
    return found | ({"commit": commit} if commit else {})


def _commit() -> str:
    """That of the checkout, or that which an image was made from; empty where neither says it."""
    if os.environ.get("MICROTOME_COMMIT"):
        return os.environ["MICROTOME_COMMIT"]
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
