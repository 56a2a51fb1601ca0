"""The tasks that a suite speaks of: each reference, a name or a file, becomes the name of one task."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from microtome.jobs.tasks import Task, is_task_file, load_task, task_file
from microtome.store.errors import InputError, MissingError, unknown


class TaskReferences:
    """Tasks by name, as they are met. The path of a task file is looked for in `folders`, those of the suite
    file and of what it includes, then in the working directory. A name means a task that was met before,
    else one that comes with microtome. `file_of` gives the suite file that speaks at a place, such as
    "probe.0.tasks"."""

    def __init__(self, folders: Sequence[Path], file_of: Callable[[str], Path]) -> None:
        self._folders = folders
        self._file_of = file_of
        self._files: dict[str, Path] = {}  # by name
        self._names: dict[Path, str] = {}  # by file
        self.by_name: dict[str, Task] = {}

    def name(self, reference: str, place: str) -> str:
        """The name of the task that is referred to; InputError if another one has it already."""
        if reference in self.by_name:
            return reference
        file = self._file(reference, place)
        if file in self._names:
            return self._names[file]
        task = load_task(str(file))
        first = self._files.setdefault(task.name, file)
        if not first.samefile(file):
            raise InputError(
                f"{self._file_of(place)}: two tasks are called '{task.name}': {first} and {file}"
            )
        self.by_name.setdefault(task.name, task)
        self._names[file] = task.name
        return task.name

    def names(self, references: Iterable[str], place: str) -> tuple[str, ...]:
        """The names of several tasks; InputError if one is given twice at this `place` of the suite."""
        names: list[str] = []
        for reference in references:
            name = self.name(reference, place)
            if name in names:
                raise InputError(f"{self._file_of(place)}: {place}: task '{name}' is given twice")
            names.append(name)
        return tuple(names)

    def among(self, names: Iterable[str], reference: str, place: str) -> str:
        """The name of a task that must be one of `names`."""
        name = self.name(reference, place) if is_task_file(reference) else reference
        if name not in names:
            raise unknown(f"task under {place} in {self._file_of(place)}", reference, names)
        return name

    def _file(self, reference: str, place: str) -> Path:
        files = [task_file(reference, folder) for folder in self._folders]
        for file in files:
            if os.path.lexists(file) or not is_task_file(reference):
                return file
        raise MissingError(f"{self._file_of(place)}: no task file {reference}, beside it or in this folder")
