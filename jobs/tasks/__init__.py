"""Tasks: a dataset and what is asked of it, one YAML file each."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.tasks.published import ZERO_SHOT, Published, known_settings
from microtome.jobs.tasks.recipe import TRAINS_ONLY, Recipe
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.jobs.yaml_files import YamlFile, read_yaml
from microtome.store.config import Config
from microtome.store.errors import InputError, unknown
from microtome.store.files.paths import place

__all__ = ["TRAINS_ONLY", "Published", "Recipe", "Task", "load_task", "task_file", "task_names"]

OPEN_QUESTION = "?"  # a value that `task init` could not see in the files
TASKS = Path(__file__).parent


class HubSpec(DataSpec):
    """The same data on the hub, for when no local folder has it."""

    repo: str = Field(description="dataset repository")
    revision: str = Field(description="commit, branch or refs/convert/parquet")


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
    remark: str = Field("", description="what a reader of the scores has to know of the data")
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
    published_recipes: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="name -> what is known of a recipe that published scores were reached by; null says that "
        "a setting is not known, and what is not named is at its default",
    )
    published: tuple[Published, ...] = Field((), description="scores that others reported, to compare with")

    @field_validator("published_recipes")
    @classmethod
    def _are_recipes(cls, recipes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, stated in recipes.items():
            Recipe.parse(known_settings(stated), where=f"published recipe '{name}'")
            if strange := stated.keys() - Recipe.model_fields.keys():
                raise ValueError(f"published recipe '{name}': no such setting: {', '.join(sorted(strange))}")
        return recipes

    @model_validator(mode="after")
    def _published_by_a_recipe_that_is_stated(self) -> "Task":
        for score in self.published:
            names = (*self.published_recipes, ZERO_SHOT)
            if score.recipe and score.recipe not in names:
                raise ValueError(str(unknown("published recipe", score.recipe, names)))
        return self

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
        return self.kind.with_tags(self.recipe.tags).classes(self.labels)


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
