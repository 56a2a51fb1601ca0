"""Prints what microtome needs, with the extras named on the command line, without microtome itself: an image
installs it in a layer of its own, which a change of the code leaves as it is."""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """The dependencies of a project and of some of its extras, one requirement each."""
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


if __name__ == "__main__":
    print("\n".join(requirements(Path(__file__).parent / "pyproject.toml", sys.argv[1:])))
