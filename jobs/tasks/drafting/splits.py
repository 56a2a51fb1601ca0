"""Which files are train, dev and test, by their names."""

import re
from collections.abc import Sequence
from pathlib import Path

from microtome.jobs.data.examples import SPLITS
from microtome.store.errors import InputError, MissingError
from microtome.store.files.paths import place

WORDS = {  # a part of a file's name -> its split
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "valid", "validation", "val", "trial"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "tst"), "test"),
}
NO_DATA = (".md", ".yaml", ".yml", ".py", ".pdf", ".log")


def splits_of(arguments: Sequence[str]) -> dict[str, Path]:
    """Split -> file or folder, from paths, `SPLIT=PATH`, or one folder that holds the files of the splits."""
    named: dict[str, Path] = {}
    unnamed: list[Path] = []
    for argument in arguments:
        split, equals, rest = argument.partition("=")
        path = place(rest if equals and split in SPLITS else argument)
        if not path.exists():
            raise MissingError(f"no file or folder {path}")
        _add(named, split if equals and split in SPLITS else split_of(path), path, unnamed)
    if len(arguments) == 1 and unnamed and unnamed[0].is_dir():
        inside = [child for child in sorted(unnamed[0].iterdir()) if child.suffix not in NO_DATA]
        for child in inside if any(split_of(child) == "train" for child in inside) else ():
            if split_of(child) is not None:
                _add(named, split_of(child), child, [])
    if not named and len(unnamed) == 1:
        return {"train": unnamed[0]}
    if "train" not in named:
        names = ", ".join(map(str, [*named.values(), *unnamed]))
        raise InputError(f"which file to train on is not clear from {names}; say it: train=FILE")
    if unnamed and len(arguments) > 1:
        raise InputError(f"which split {unnamed[0]} is is not clear; say it, such as test={unnamed[0]}")
    return {split: named[split] for split in SPLITS if split in named}


def split_of(path: Path) -> str | None:
    """The split that a file's name speaks of."""
    parts = re.split(r"[^a-z]+", path.name.lower())
    return next((WORDS[part] for part in parts if part in WORDS), None)


def _add(named: dict[str, Path], split: str | None, path: Path, unnamed: list[Path]) -> None:
    if split is None:
        unnamed.append(path)
    elif split in named:
        raise InputError(
            f"{named[split]} and {path} are both {split}; name one file for each split: {split}=FILE"
        )
    else:
        named[split] = path
