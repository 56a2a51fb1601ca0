"""Where suites are found: those that come with microtome, and files of the user's own."""

from pathlib import Path

from microtome.jobs.yaml_files import load_yaml
from microtome.store.errors import unknown
from microtome.store.files.paths import place

SUITES = Path(__file__).parent / "suites"


def suite_names() -> list[str]:
    """The suites that come with microtome."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def suite_file(name_or_path: str) -> Path:
    """The file of a suite: that of a name, or a path. InputError for an unknown name."""
    if name_or_path.endswith((".yaml", ".yml")):
        return place(name_or_path)
    if name_or_path not in suite_names():
        raise unknown("suite", name_or_path, suite_names(), see="microtome suite ls")
    return SUITES / f"{name_or_path}.yaml"


def suite_description(name: str) -> str:
    """What a suite says of itself; nothing else of it is looked at."""
    return str(load_yaml(suite_file(name), "suite file")["description"])
