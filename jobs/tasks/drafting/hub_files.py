"""The files of a dataset on the hub as those of a task: hub:OWNER/NAME[/SUBSET][@REVISION]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from microtome.jobs.data.examples import SPLITS
from microtome.jobs.hub import download_files, hub_dataset
from microtome.jobs.tasks.drafting.splits import split_of
from microtome.store.errors import InputError

PREFIX = "hub:"
DATA_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".conll", ".xml")


@dataclass(frozen=True)
class HubFiles:
    """A dataset at a commit, with the file of each split: its name in the repository and where it lies."""

    repo: str
    revision: str
    names: Mapping[str, str]
    paths: Mapping[str, Path]
    licence: str


def hub_files(reference: str) -> HubFiles:
    """Download the files of the splits of a dataset. Raises InputError where these are not clear."""
    place, _, revision = reference.removeprefix(PREFIX).partition("@")
    owner, _, rest = place.partition("/")
    name, _, subset = rest.partition("/")
    if not owner or not name:
        raise InputError(
            f"'{reference}' is no dataset: write {PREFIX}OWNER/NAME, with /SUBSET if it has several"
        )
    repo = f"{owner}/{name}"
    dataset = hub_dataset(repo, revision or None)
    files = [file for file in dataset.files if file.endswith(DATA_SUFFIXES)]
    names = _by_split(repo, _of_subset(repo, files, subset))
    folder = download_files(repo, dataset.commit, list(names.values()), "dataset")
    paths = {split: folder / file for split, file in names.items()}
    return HubFiles(repo, dataset.commit, names, paths, dataset.licence)


def _of_subset(repo: str, files: Sequence[str], subset: str) -> list[str]:
    """The files of one subset: those below its folder, where every file of a split is below a folder."""
    splits = [file for file in files if _split_of(file) is not None]
    subsets = sorted({file.partition("/")[0] for file in splits if file.count("/") > 1})
    if not subset and len(subsets) > 1:
        raise InputError(
            f"dataset '{repo}' has several subsets; choose one: "
            + ", ".join(f"{PREFIX}{repo}/{name}" for name in subsets)
        )
    chosen = [file for file in splits if not subset or file.startswith(f"{subset}/")]
    if not chosen:
        have = ", ".join(subsets) or ", ".join(files[:5]) or "no file of rows"
        raise InputError(
            f"dataset '{repo}' has no file of a split{f' in {subset}' if subset else ''}: it has {have}"
        )
    return chosen


def _by_split(repo: str, files: Sequence[str]) -> dict[str, str]:
    by_split: dict[str, list[str]] = {split: [] for split in SPLITS}
    for file in files:
        by_split[str(_split_of(file))].append(file)
    for split, own in by_split.items():
        if len(own) > 1:
            raise InputError(
                f"dataset '{repo}': {split} is in {len(own)} files ({own[0]}, {own[1]} ...), and a task reads"
                " one for each split: download and join them, and give the files to task init"
            )
    if not by_split["train"]:
        raise InputError(f"dataset '{repo}' has no file to train on: it has {', '.join(files)}")
    return {split: own[0] for split, own in by_split.items() if own}


def _split_of(file: str) -> str | None:
    """By the name of the file, then of the folders that it is in, from the last on."""
    splits = (split_of(Path(part)) for part in reversed(PurePosixPath(file).parts))
    return next((split for split in splits if split is not None), None)
