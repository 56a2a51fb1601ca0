"""Where a task's files are: a local folder first, then the hub; and its examples, read and checked."""

import functools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from microtome.jobs.data.code_version import code_version
from microtome.jobs.data.examples import SPLITS, Example, rows_digest
from microtome.jobs.data.fractions import held_out
from microtome.jobs.data.readers import READERS, read_examples
from microtome.jobs.data.readers.opening import noting_files, reading
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.hub import download_files, offline
from microtome.jobs.tasks import Task
from microtome.store.artifacts.digests import Digests
from microtome.store.errors import Absence, AbsentError, InputError, MissingError, unknown
from microtome.store.files.checksums import stamp
from microtome.store.files.paths import place, place_from


@dataclass(frozen=True)
class TaskData:
    """The data of one task, found. `files` maps each split to a path."""

    task: Task
    spec: DataSpec
    files: Mapping[str, Path]
    origin: str
    absence: Absence | None = None  # why it cannot be read, where only its identities are known
    identities: Mapping[str, str] = field(default_factory=dict)  # of the splits of data that is absent
    rows: Mapping[str, Sequence[Example]] | None = field(
        default=None, compare=False, repr=False
    )  # read elsewhere
    digests: Digests = field(default_factory=Digests, compare=False, repr=False)
    _by_split: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def read(self, split: str) -> list[Example]:
        """The examples of a split in file order; InputError if it is empty or has unknown labels."""
        if self.absence is not None:
            raise AbsentError(self.absence)
        self._refuse_unlabelled(split)
        return self.read_texts(split)

    def read_texts(self, split: str) -> list[Example]:
        """The same, also of a split without labels, whose labels are then blank."""
        if self.rows is not None and split in self.rows:
            return list(self.rows[split])
        return list(_read(self, split, self._times(split)).examples)

    def _refuse_unlabelled(self, split: str) -> None:
        if split in self.spec.unlabelled:
            raise InputError(
                f"the {split} split of '{self.task.name}' is unlabelled: it can be predicted, but not scored "
                f"or probed. Leave its file out and hold a part of train out: hold_out: {{{split}: 0.2}}"
            )

    def digest(self, split: str) -> str:
        """The identity of a split: its rows after reading. The files are not read if it is remembered."""
        self._refuse_unlabelled(split)
        if self.absence is not None:
            return self.identities[split]
        if split not in self._by_split:
            self._by_split[split] = self._remembered_digest(split)
        return self._by_split[split]

    def _remembered_digest(self, split: str) -> str:
        path = self._file(split)
        if path is None:  # it is generated, or there is no such split
            return rows_digest(self.read(split))
        settings = {"spec": self.spec.all_settings(), "type": self.task.type, "labels": self.task.labels}
        what = {"rows": split, **settings, "code": code_version()}
        digest = self.digests.recall(what, path)
        if digest is None:
            rows = _read(self, split, self._times(split))
            digest = rows_digest(rows.examples)
            self.digests.remember(what, digest, path, beside=rows.beside, began=rows.began)
        return digest

    def _file(self, split: str) -> Path | None:
        """The file or folder that a split is read from, if it is read from any."""
        held_out = self.files.get("train") if split in self.spec.shares else None
        return None if self.spec.format == "synthetic" else self.files.get(split, held_out)

    def _times(self, split: str) -> int:
        """Changes when the file of a split is written to or replaced, within one process."""
        path = self._file(split)
        return 0 if path is None or not path.is_file() else hash(stamp(path.stat()))

    def __hash__(self) -> int:
        return hash((self.task.name, self.origin, tuple(self.files.items())))


@dataclass(frozen=True)
class Rows:
    """The examples of a split, the time before they were read, and the files read beside the split's own."""

    examples: Sequence[Example]
    began: int
    beside: Sequence[Path]


def find_data(task: Task, digests: Digests | None = None) -> TaskData:
    """The task's own root, MICROTOME_DATA/<task>, then the hub; AbsentError says what to do. `digests` are
    those that a store remembers."""
    digests = digests or Digests()
    found, tried = find_local(task)
    if found is not None:
        return replace(found, digests=digests)
    folder = None
    if task.hub is not None:
        names = list(task.hub.files.values())
        try:
            folder = download_files(task.hub.repo, task.hub.revision, names, "dataset")
        except MissingError as error:
            if not offline():
                raise AbsentError(Absence("dataset", task.name, str(error), how_to_get(task))) from None
    if task.hub is not None and folder is not None:
        files = {split: folder / name for split, name in task.hub.files.items()}
        origin = f"hub {task.hub.repo}@{task.hub.revision}"
        return TaskData(task, task.hub, files, origin, digests=digests)
    where = f"not at {', '.join(tried)}" if tried else "MICROTOME_DATA is not set"
    why = f"no data for task '{task.name}' ({where})"
    raise AbsentError(Absence("dataset", task.name, why, how_to_get(task)))


def find_local(task: Task) -> tuple[TaskData | None, list[str]]:
    """The data as far as this machine has it, and the files that were looked for and are not there."""
    tried = []
    for spec in (task.data, *task.also):
        if spec.format not in READERS:
            raise unknown("data format", spec.format, READERS)
        if spec.format == "synthetic":
            names = {split: Path(name) for split, name in spec.files.items()}
            return TaskData(task, spec, names, "generated"), []
        for folder in _folders(task, spec):
            files = {split: Path(os.path.realpath(folder / name)) for split, name in spec.files.items()}
            absent = [path for path in files.values() if not _there(path)]
            if not absent:
                return TaskData(task, spec, files, str(folder)), []
            tried.append(str(absent[0]))
    return None, tried


def read_as_planned(data: TaskData, split: str, identity: str) -> list[Example]:
    """The examples of a split, refused if they are not the rows that the plan saw."""
    examples = data.read(split)
    if rows_digest(examples) != identity:  # of what was read, not what is remembered
        raise InputError(f"the {split} split of '{data.task.name}' has changed since the plan; plan again")
    return examples


def how_to_get(task: Task) -> str:
    """What to do about data that is not here, in one line."""
    folder = f"$MICROTOME_DATA/{task.name}/"
    return f"{task.obtain.rstrip('.')}; put {', '.join(task.data.files.values())} into {folder}"


def _folders(task: Task, spec: DataSpec) -> list[Path]:
    folders = []
    if spec.root is not None:
        folders.append(place(spec.root))
    data = place_from("MICROTOME_DATA")
    if data is not None:
        folders.append(data / task.name)
    return folders


@functools.lru_cache(maxsize=12)
def _read(data: TaskData, split: str, times: int) -> Rows:
    """The rows of a split, read once for as long as its file has the same `times`."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if split not in data.files and split not in data.spec.shares:
        hint = f"name its file, or hold a part of train out: hold_out: {{{split}: 0.2}}"
        raise InputError(f"task '{data.task.name}' has no {split} split; {hint}")
    path = data.files.get(split, data.files["train"])
    began = time.time_ns()
    with noting_files() as opened:
        labelled = split not in data.spec.unlabelled
        examples = read_examples(path, data.spec.for_split(split), labels=labelled)
    if data.spec.shares and split in ("train", *data.spec.shares):
        examples = held_out(examples, data.spec.shares)[split]
    if not examples:
        raise InputError(f"{path}: the {split} split of '{data.task.name}' is empty")
    for example in examples if labelled else ():
        unfit = data.task.kind.unfit(example)
        if unfit:
            raise InputError(f"{example.where or path}: {unfit}")
        strange = data.task.kind.strange(example, data.task.labels)
        if strange is not None:
            known = ", ".join(data.task.labels) or "finite numbers"
            where = example.where or path
            raise InputError(f"{where}: example {example.id}: unknown label '{strange}' (known: {known})")
    return Rows(examples, began, [file for file in opened if not file.is_relative_to(path)])


def _there(path: Path) -> bool:
    with reading(path):
        return path.exists()
