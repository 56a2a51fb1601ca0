"""The tasks that a suite speaks of: each reference, a name or a file, becomes the name of one task."""

import os
from collections.abc import Iterable
from pathlib import Path

from microtome.jobs.tasks import Task, is_task_file, load_task, task_file
from microtome.store.errors import InputError, MissingError, unknown


class SuiteTasks:
    """Tasks by name, as they are met. The path of a task file is looked for beside the suite file, then in
    the working directory. A name means a task that was met before, else one that comes with microtome."""

    def __init__(self, suite_file: Path) -> None:
        self._suite_file = suite_file
        self._files: dict[str, Path] = {}  # by name
        self._names: dict[Path, str] = {}  # by file
        self.by_name: dict[str, Task] = {}

    def name(self, reference: str) -> str:
        """The name of the task that is referred to; InputError if another one has it already."""
        if reference in self.by_name:
            return reference
        file = task_file(reference, self._suite_file.parent)
        if is_task_file(reference) and not os.path.lexists(file):
            raise MissingError(f"{self._suite_file}: no task file {reference}, beside it or in this folder")
        if file in self._names:
            return self._names[file]
        task = load_task(str(file))
        known = self._files.setdefault(task.name, file)
        if not known.samefile(file):
            raise InputError(f"{self._suite_file}: two tasks are called '{task.name}': {known} and {file}")
        self.by_name.setdefault(task.name, task)
        self._names[file] = task.name
        return task.name

    def names(self, references: Iterable[str], place: str) -> tuple[str, ...]:
        """The names of several tasks; InputError if one is given twice at this `place` of the suite."""
        found: list[str] = []
        for reference in references:
            name = self.name(reference)
            if name in found:
                raise InputError(f"{self._suite_file}: {place}: task '{name}' is given twice")
            found.append(name)
        return tuple(found)

    def among(self, known: Iterable[str], reference: str, place: str) -> str:
        """The name of a task that must be one of the `known`."""
        name = self.name(reference) if is_task_file(reference) else reference
        if name not in known:
            raise unknown(f"task under {place} in {self._suite_file}", reference, known)
        return name
