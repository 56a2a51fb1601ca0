"""Tasks: a dataset and what is asked of it, one YAML file each."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from microtome.analysis.metrics import SCORES
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.jobs.training_settings import TrainingSettings
from microtome.jobs.yaml_files import YamlFile, read_yaml
from microtome.store.config import Config, OneOf
from microtome.store.errors import InputError, unknown
from microtome.store.files.paths import place

OPEN_QUESTION = "?"  # a value that `task init` could not see in the files
TASKS = Path(__file__).parent


class Recipe(TrainingSettings):
    """How a model is fine-tuned on a task, unless a suite or an option says otherwise."""

    max_length: int = Field(128, ge=8, description="tokens per sequence, special tokens included")
    keep: str = Field("best", pattern="^(best|last)$", description="checkpoint of the best or the last epoch")
    positive_weight: float = Field(
        1.0,
        gt=0,
        description="in the loss, of a class that is there (multi-label), of a relation; above 1 if few are",
    )
    train_examples: int | None = Field(
        None, ge=1, description="at most so many training examples, whatever the fraction"
    )
    label_subword: str = Field(
        "auto",
        pattern="^(auto|first|last)$",
        description="subword that carries a word's label; auto: first for encoders, last for causal models",
    )


# What of a recipe has no effect where nothing is trained.
TRAINS_ONLY = (*TrainingSettings.model_fields, "keep", "positive_weight", "train_examples")


class HubSpec(DataSpec):
    """The same data on the hub, for when no local folder has it."""

    repo: str = Field(description="dataset repository")
    revision: str = Field(description="commit, branch or refs/convert/parquet")


class Published(Config):
    """A score that others reported, to compare with."""

    metric: Annotated[str, OneOf("metric", lambda: SCORES)] = Field(
        description="of the scores that are known"
    )
    value: float = Field(description="as a share, not in per cent")
    model: str = Field(description="which model had it")
    source: str = Field(description="where it was reported")

    @model_validator(mode="after")
    def _is_a_value_of_the_metric(self) -> "Published":
        low, high = SCORES[self.metric].bounds
        if not low <= self.value <= high:
            raise ValueError(f"value: {self.metric} is from {low:g} to {high:g}, not {self.value:g}")
        return self


class Task(Config):
    """One task file. `name` is also its folder under MICROTOME_DATA."""

    name: str = Field(description="of the task, and of its folder below MICROTOME_DATA")
    type: str = Field(description=f"task type: {', '.join(TASK_TYPES)}")
    title: str = Field(description="what the task is, in one line")
    labels: tuple[str, ...] = Field(description="entity types or classes, in the order of the head")
    licence: str = Field(description="of the data")
    credentialed: bool = Field(
        False, description="needs an agreement: never quoted, never pushed, its owner's alone to read"
    )
    obtain: str = Field(description="how to get the files, in one line")
    citation: str = Field("", description="the paper that describes the data")
    data: DataSpec = Field(description="where the data are and how to read them")
    also: tuple[DataSpec, ...] = Field(
        (), description="other published forms of the same data, tried in order"
    )
    hub: HubSpec | None = Field(None, description="the same data on the hub, for when no folder has it")
    max_overlap: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of the test texts that may be training texts word for word; more is refused",
    )
    recipe: Recipe = Field(Recipe.model_validate({}), description="how a model is fine-tuned on it")
    published: tuple[Published, ...] = Field((), description="scores that others reported, to compare with")

    @model_validator(mode="after")
    def _labels_suit_the_type(self) -> "Task":
        kind = TASK_TYPES.get(self.type)
        if kind is not None and len(self.labels) < kind.fewest_labels:
            raise ValueError(f"labels: a {self.type} task has {kind.fewest_labels} or more")
        if kind is not None and kind.head == "token" and "O" in self.labels:
            raise ValueError("labels: 'O' stands for words of no entity, and is no type of entities")
        return self

    @model_validator(mode="after")
    def _has_training_data(self) -> "Task":
        for spec in (self.data, *self.also, *([self.hub] if self.hub is not None else [])):
            if "train" not in spec.files:
                raise ValueError("files: no train")
        return self

    @property
    def kind(self) -> TaskType:
        return TASK_TYPES[self.type]

    @property
    def classes(self) -> tuple[str, ...]:
        """What the head distinguishes."""
        return self.kind.classes(self.labels)


def task_names() -> list[str]:
    """The tasks that come with microtome, and those of the demo."""
    return sorted(path.stem for path in TASKS.glob("*.yaml"))


def load_task(name_or_path: str) -> Task:
    """A task by name, or from a YAML file of the user's own."""
    path = task_file(name_or_path)
    file = read_yaml(path, "task file")
    values = file.values
    if isinstance(values.get("data"), dict) and isinstance(values["data"].get("root"), str):
        values["data"]["root"] = str((path.parent / place(values["data"]["root"])).absolute())
    _refuse_open_questions(file)
    task = Task.parse(values, where=file.place)
    if task.type not in TASK_TYPES:
        raise unknown("task type", task.type, TASK_TYPES)
    return task


def _refuse_open_questions(file: YamlFile) -> None:
    """InputError for values that `task init` has left for a person to give."""
    places = [location for location in file.lines if file.value(location) == OPEN_QUESTION]
    if places:
        keys = ", ".join(f"{'.'.join(map(str, at))} (line {file.lines[at]})" for at in places)
        raise InputError(f"{file.path}: still to be answered: {keys}; the comments there say what is asked")


def task_file(name_or_path: str, beside: Path | None = None) -> Path:
    """The file of a task: that of a name, or a path, which is looked for in the folder `beside`, if one is
    given, and then in the working directory. InputError for an unknown name."""
    if is_task_file(name_or_path):
        found = (beside or Path()) / place(name_or_path)
        return found if os.path.lexists(found) else place(name_or_path)
    if name_or_path not in task_names():
        raise unknown("task", name_or_path, task_names(), see="microtome task ls")
    return TASKS / f"{name_or_path}.yaml"


def is_task_file(reference: str) -> bool:
    """Whether a task is meant by its file, and not by its name."""
    return reference.endswith((".yaml", ".yml"))
