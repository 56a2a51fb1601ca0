"""A suite: the models, tasks, fractions and questions of one study, as a YAML file."""

import functools
import shlex
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, create_model, field_validator, model_validator

from microtome.jobs.kinds import KINDS, all_kinds
from microtome.jobs.kinds.adapt import AdaptConfig
from microtome.jobs.kinds.adapt import plan_model as plan_adapted_model
from microtome.jobs.kinds.extraction.settings import View
from microtome.jobs.kinds.planning import CacheUse, Planning, Step, StepT
from microtome.jobs.kinds.randomise import RandomConfig
from microtome.jobs.kinds.randomise import plan_model as plan_random_model
from microtome.jobs.models.source import ModelSource
from microtome.jobs.suite.include import SuiteValues, read_suite, suite_file
from microtome.jobs.suite.overrides import apply_overrides
from microtome.jobs.tasks import Recipe, Task
from microtome.jobs.tasks.references import TaskReferences
from microtome.store.config import Config, Seed
from microtome.store.errors import InputError, unknown

LOCAL = (".", "/", "~")  # how the path of a folder begins
Fraction = Annotated[float, Field(ge=0, le=100)]


class ModelSpec(Config):
    """A model of a suite: itself by default, or another under this name, or one that is made first."""

    source: str | None = Field(None, description="short name, hub id or folder, if not the name itself")
    revision: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        description="branch, tag or commit on the hub; main if unset. A commit stays what it is",
    )
    adapt: AdaptConfig | None = Field(None, description="make it by training a language model")
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random: the architecture and tokenizer alone, drawn anew"
    )
    seed: Seed = Field(0, description="of random weights")
    draws: int = Field(
        1,
        ge=1,
        description="of random weights, each with the next seed: how many models are drawn under this name; "
        "they are analysed as the seeds of a fine-tuning are",
    )
    fractions: tuple[Fraction, ...] | None = Field(
        None, description="of this model, if not those of the suite; none: it is not fine-tuned"
    )

    @model_validator(mode="after")
    def _made_in_one_way(self) -> "ModelSpec":
        if self.adapt is not None and self.weights == "random":
            raise ValueError("a model is either adapted or random")
        if self.adapt is not None and self.source is not None:
            raise ValueError("source has no effect beside adapt, whose base or new says what to start from")
        if self.revision is not None and (self.adapt is not None or (self.source or "").startswith(LOCAL)):
            raise ValueError("revision is for models of the hub: not for adapted ones, nor for folders")
        if self.revision is not None and "@" in (self.source or ""):
            raise ValueError("source has a revision after its @ already")
        if self.weights != "random" and "seed" in self.model_fields_set:
            raise ValueError("seed has no effect without weights: random")
        if self.draws > 1 and (self.weights != "random" or self.fractions != ()):
            raise ValueError("several draws are of random weights that are not fine-tuned (fractions: [])")
        return self

    def planned(self, name: str, planning: Planning) -> ModelSource:
        """The model under its name in the suite; if it is made first, the job that makes it is added."""
        if self.adapt is not None:
            return plan_adapted_model(planning, name, self.adapt)
        source = self.source or name
        if self.revision is not None:
            source = f"{source}@{self.revision}"
        if self.weights == "random":
            return plan_random_model(planning, name, source, RandomConfig(seed=self.seed))
        return replace(planning.finder.model(source), name=name)

    def further_draws(self, name: str, planning: Planning) -> dict[int, ModelSource]:
        """seed -> the model, of every draw of random weights after the first."""
        seeds = range(self.seed + 1, self.seed + self.draws)
        return {
            seed: plan_random_model(planning, name, self.source or name, RandomConfig(seed=seed))
            for seed in seeds
        }


class Suite(Config):
    """What a suite runs. `suite_class` adds a field for every kind of job that a suite may speak of."""

    include: str | None = Field(
        None, description="suite to start from: a name, or a file from where this one is; then what differs"
    )
    name: str = Field(description="of the suite")
    description: str = Field(description="what it is about, in one line")
    study: str = Field("", description="what was published, with its DOI or address")
    models: dict[str, ModelSpec] = Field(min_length=1, description="names of models, or settings by name")
    tasks: tuple[str, ...] = Field(
        min_length=1, description="names, or task files beside the suite or below the working directory"
    )
    fractions: tuple[Fraction, ...] = Field(
        (0, 10, 30, 50, 100), min_length=1, description="of the training data, in per cent; 0: not fine-tuned"
    )
    seeds: tuple[Seed, ...] = Field((1,), min_length=1, description="each fine-tunes every model once")
    recipe: dict[str, Any] = Field(default_factory=dict, description="for every task, over its own recipe")
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="per task, over that")
    _tasks: dict[str, Task] = PrivateAttr(default_factory=dict)
    _typed: str = PrivateAttr("")

    @field_validator("models", mode="before")
    @classmethod
    def _list_of_names(cls, models: Any) -> Any:
        if not isinstance(models, list | tuple):
            return {name: spec or {} for name, spec in models.items()} if isinstance(models, dict) else models
        if not all(isinstance(name, str) for name in models):
            raise ValueError("a list has the names of models; what is said of one stands below it as a key")
        for name in models:
            if models.count(name) > 1:
                raise ValueError(f"'{name}' is given twice")
        return {name: {} for name in models}

    @model_validator(mode="after")
    def _fractions_have_effect(self) -> "Suite":
        own = all(model.fractions is not None for model in self.models.values())
        if own and "fractions" in self.model_fields_set:
            raise ValueError("fractions have no effect, as every model has its own")
        return self

    def task(self, name: str) -> Task:
        """A task of the suite by its name; with the suite's recipe, if it is fine-tuned."""
        return self._tasks[name]

    def fractions_of(self, model: str) -> tuple[float, ...]:
        """The fractions of the training data that a model is fine-tuned on."""
        own = self.models[model].fractions
        return self.fractions if own is None else own

    def base_of(self, model: str) -> str | None:
        """The model that one is adapted from."""
        settings = self.models[model].adapt
        return settings.base if settings is not None else None

    def steps(self, of: type[StepT]) -> tuple[StepT, ...]:
        """The steps of this class, in order."""
        return getattr(self, _kind_of(of))

    def named_steps(self, of: type[StepT]) -> Mapping[str, StepT]:
        """The steps of this class by their names."""
        return getattr(self, _kind_of(of))

    def all_steps(self) -> Iterator[tuple[str, Step]]:
        """Every step that has no name, with its place in the suite, such as "probe.0"."""
        for kind in all_kinds():
            if kind.step is not None and not kind.named_steps:
                for number, step in enumerate(self.steps(kind.step)):
                    yield f"{kind.name}.{number}", step

    @property
    def typed(self) -> str:
        """How the suite was asked for, as words of a command: its name or file, and what was changed."""
        return self._typed


def suite_class() -> type[Suite]:
    """The suite with a field for every kind of job that a suite may speak of."""
    return _suite_class(tuple(KINDS.items()))


@functools.cache
def _suite_class(kinds: tuple[tuple[str, str], ...]) -> type[Suite]:
    fields: dict[str, Any] = {}
    for kind in all_kinds():
        if kind.step is not None and kind.named_steps:
            fields[kind.name] = (
                types.GenericAlias(dict, (str, kind.step)),
                Field(default_factory=dict, description=f"by name: {kind.title}"),
            )
        elif kind.step is not None:
            fields[kind.name] = types.GenericAlias(tuple, (kind.step, ...)), Field((), description=kind.title)
    return create_model("Suite", __base__=Suite, **fields)


def _kind_of(step: type[Step]) -> str:
    return next(kind.name for kind in all_kinds() if kind.step is step)


def load_suite(name_or_path: str, overrides: Sequence[str] = ()) -> Suite:
    """A suite by name or file. `overrides` are KEY=VALUE with dots between keys and YAML values.

    What it says of tasks is by their names, whether the file has names or paths.
    """
    read = read_suite(suite_file(name_or_path))
    apply_overrides(read.values, overrides)
    if "include" in read.values:
        raise InputError("--set include has no effect: a suite includes another in its file")
    suite = suite_class().parse(read.values, where=lambda location: str(read.file_of(location)))
    _check_steps(suite, read)
    _check_models(suite, read)
    changes = [word for override in overrides for word in ("--set", override)]
    return _with_tasks(suite, read, shlex.join([name_or_path, *changes]))


def _with_tasks(suite: Suite, read: SuiteValues, typed: str) -> Suite:
    """The suite with its tasks, and with their names in place of references to them."""
    tasks = TaskReferences([file.parent for file in read.files], lambda at: read.file_of(at.split(".")))
    names = tasks.names(suite.tasks, "tasks")
    recipes: dict[str, dict[str, Any]] = {}
    for reference, recipe in suite.recipes.items():
        name = tasks.among(names, reference, "recipes")
        if name in recipes:
            raise InputError(f"{read.file_of(['recipes'])}: recipes: task '{name}' is given twice")
        recipes[name] = recipe
    steps: dict[str, tuple[Step, ...]] = {}
    for place, step in suite.all_steps():
        kind = place.partition(".")[0]
        steps[kind] = (*steps.get(kind, ()), step.with_task_names(tasks, names, place))
    _refuse_overruled(suite.recipe, recipes, names, read)
    loaded = suite.model_copy(update={"tasks": names, "recipes": recipes, **steps})
    loaded._typed = typed
    loaded._tasks = tasks.by_name | {name: _with_recipe(tasks.by_name[name], loaded) for name in names}
    return loaded


def _with_recipe(task: Task, suite: Suite) -> Task:
    """The task with the recipe that the suite runs it by."""
    values = task.recipe.model_dump() | suite.recipe | suite.recipes.get(task.name, {})
    recipe = Recipe.parse(values, where=f"recipe of suite '{suite.name}' for '{task.name}'")
    return task.model_copy(update={"recipe": recipe})


def _refuse_overruled(
    recipe: Mapping[str, Any],
    recipes: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    read: SuiteValues,
) -> None:
    for key in recipe:
        if all(key in recipes.get(name, {}) for name in names):
            file = read.file_of(["recipe", key])
            raise InputError(f"{file}: recipe.{key} has no effect, as recipes say it of every task")


def _check_steps(suite: Suite, read: SuiteValues) -> None:
    for place, step in suite.all_steps():
        file = read.file_of(place.split("."))
        for use in step.cache_uses():
            _need_cache(suite, use, file)
        for name in step.models_named():
            if name not in suite.models:
                raise unknown(f"model in {file}", name, suite.models)


def _check_models(suite: Suite, read: SuiteValues) -> None:
    for name, model in suite.models.items():
        start = model.adapt.base if model.adapt is not None else model.source
        later = list(suite.models)[list(suite.models).index(name) + 1 :]
        if start in later:
            file = read.file_of(["models", name])
            raise InputError(f"{file}: model '{name}' is made from '{start}', which must stand before it")


def _need_cache(suite: Suite, use: CacheUse, file: Path) -> None:
    views = suite.named_steps(View)
    if use.view not in views:
        raise unknown(f"view in {file}", use.view, views)
    if use.split not in views[use.view].splits:
        raise unknown(f"split of view '{use.view}' in {file}", use.split, views[use.view].splits)
    if use.keep not in views[use.view].options.keep:
        raise InputError(f"{file}: view '{use.view}' keeps no {use.keep}, which a step needs")
