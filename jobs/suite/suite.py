"""A suite: the models, tasks, fractions and questions of one study, as a YAML file."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from microtome.analysis.attention.compare import AttentionConfig
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.similarity_settings import SimilarityConfig
from microtome.jobs.kinds.adapt import AdaptConfig
from microtome.jobs.kinds.answer import AnswerConfig
from microtome.jobs.kinds.extract import ExtractConfig
from microtome.jobs.kinds.generate import GenerateConfig
from microtome.jobs.suite.files import suite_file
from microtome.jobs.suite.overrides import apply_overrides
from microtome.jobs.suite.tasks import SuiteTasks
from microtome.jobs.tasks import Recipe, Task
from microtome.jobs.yaml_files import load_yaml
from microtome.store.config import Config, Seed
from microtome.store.errors import InputError, unknown

Split = Literal["train", "dev", "test"]
Fraction = Annotated[float, Field(ge=0, le=100)]
Size = Annotated[int, Field(ge=1)]


class ModelSpec(Config):
    """A model of a suite: itself by default, or another under this name, or one that is made first."""

    source: str | None = Field(None, description="short name, hub id or folder, if not the name itself")
    adapt: AdaptConfig | None = Field(None, description="make it by training a language model")
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random: the architecture and tokenizer alone, drawn anew"
    )
    seed: Seed = Field(0, description="of random weights")
    fractions: tuple[Fraction, ...] | None = Field(
        None, description="of this model, if not those of the suite; none: it is not fine-tuned"
    )

    @model_validator(mode="after")
    def _made_in_one_way(self) -> "ModelSpec":
        if self.adapt is not None and self.weights == "random":
            raise ValueError("a model is either adapted or random")
        if self.adapt is not None and self.source is not None:
            raise ValueError("source has no effect beside adapt, whose base or new says what to start from")
        if self.weights != "random" and "seed" in self.model_fields_set:
            raise ValueError("seed has no effect without weights: random")
        return self


class View(Config):
    """One cut of every checkpoint: which splits, and what is kept of them."""

    splits: dict[Split, Size | None] = Field(
        min_length=1, description="split -> at most so many examples, a seeded sample"
    )
    options: ExtractConfig = ExtractConfig()

    @model_validator(mode="after")
    def _sizes_have_effect(self) -> "View":
        whole = any(size is None for size in self.splits.values())
        if self.options.examples is not None and not whole:
            raise ValueError("options.examples has no effect, as splits give every size")
        if self.options.sample_seed and whole and self.options.examples is None:
            raise ValueError("options.sample_seed has no effect on a split that is taken whole")
        return self


class ProbeStep(Config):
    """A probe on the caches of a view."""

    view: str
    train: Split = Field("train", description="split the probe is fitted on")
    test: Split = Field("test", description="split it is scored on")
    dev: Split | None = Field(None, description="split its regularisation is chosen on; else part of train")
    tasks: tuple[str, ...] = Field((), description="only of these tasks; of all if none is named")
    options: ProbeConfig = ProbeConfig()

    @model_validator(mode="after")
    def _splits_differ(self) -> "ProbeStep":
        if len({self.train, self.test, self.dev}) < 3:
            raise ValueError("train, test and dev must be different splits")
        return self


class AttentionStep(Config):
    """Attentions of a view compared: of the fine-tuned model with the pretrained one, and of an adapted
    model with its base."""

    view: str
    split: Split = "test"
    options: AttentionConfig = AttentionConfig()


class SimilarityStep(Config):
    """Hidden states of a view compared, layer with layer; the same pairs of models as for attention."""

    view: str
    split: Split = "test"
    options: SimilarityConfig = SimilarityConfig()


class GenerateStep(Config):
    """Prompts that causal models of the suite go on writing."""

    models: tuple[str, ...] = Field((), description="of the suite; all if none is named")
    prompts: tuple[str, ...] = Field(
        min_length=1, json_schema_extra={"empty_items": True, "repeats": True}
    )  # an empty one starts a text; one that is given twice is drawn for twice
    options: GenerateConfig = GenerateConfig()


class AnswerStep(Config):
    """A task that causal models of the suite answer without a head, by likelihood."""

    models: tuple[str, ...] = Field((), description="of the suite; all if none is named")
    task: str
    options: AnswerConfig = AnswerConfig()


class Suite(Config):
    """What a study runs."""

    name: str
    description: str
    study: str = Field("", description="what was published, with its DOI or address")
    models: dict[str, ModelSpec] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(
        min_length=1, description="names, or task files beside the suite or below the working directory"
    )
    fractions: tuple[Fraction, ...] = Field((0, 10, 30, 50, 100), min_length=1)
    seeds: tuple[Seed, ...] = Field((1,), min_length=1)
    recipe: dict[str, Any] = Field(default_factory=dict, description="for every task, over its own recipe")
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="per task, over that")
    extract: dict[str, View] = Field(default_factory=dict)
    probe: tuple[ProbeStep, ...] = ()
    attention: tuple[AttentionStep, ...] = ()
    similarity: tuple[SimilarityStep, ...] = ()
    generate: tuple[GenerateStep, ...] = ()
    answer: tuple[AnswerStep, ...] = ()
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

    @property
    def typed(self) -> str:
        """How the suite was asked for, as words of a command: its name or file, and what was changed."""
        return self._typed


def load_suite(name_or_path: str, overrides: Sequence[str] = ()) -> Suite:
    """A suite by name or file. `overrides` are KEY=VALUE with dots between keys and YAML values.

    What it says of tasks is by their names, whether the file has names or paths.
    """
    path = suite_file(name_or_path)
    values = load_yaml(path, "suite file")
    apply_overrides(values, overrides)
    suite = Suite.parse(values, where=str(path))
    _check_steps(suite, path)
    _check_models(suite, path)
    changes = [word for override in overrides for word in ("--set", override)]
    return _with_tasks(suite, path, shlex.join([name_or_path, *changes]))


def _with_tasks(suite: Suite, path: Path, typed: str) -> Suite:
    """The suite with its tasks, and with their names in place of references to them."""
    tasks = SuiteTasks(path)
    names = tasks.names(suite.tasks, "tasks")
    recipes: dict[str, dict[str, Any]] = {}
    for reference, recipe in suite.recipes.items():
        name = tasks.among(names, reference, "recipes")
        if name in recipes:
            raise InputError(f"{path}: recipes: task '{name}' is given twice")
        recipes[name] = recipe
    probe = []
    for number, step in enumerate(suite.probe):
        chosen = tuple(tasks.among(names, reference, f"probe.{number}") for reference in step.tasks)
        probe.append(step.model_copy(update={"tasks": tasks.names(chosen, f"probe.{number}.tasks")}))
    answer = [step.model_copy(update={"task": tasks.name(step.task)}) for step in suite.answer]
    _refuse_overruled(suite.recipe, recipes, names, path)
    named = {"tasks": names, "recipes": recipes, "probe": tuple(probe), "answer": tuple(answer)}
    loaded = suite.model_copy(update=named)
    loaded._typed = typed
    loaded._tasks = tasks.by_name | {name: _with_recipe(tasks.by_name[name], loaded) for name in names}
    return loaded


def _with_recipe(task: Task, suite: Suite) -> Task:
    """The task with the recipe that the suite runs it by."""
    values = task.recipe.model_dump() | suite.recipe | suite.recipes.get(task.name, {})
    recipe = Recipe.parse(values, where=f"recipe of suite '{suite.name}' for '{task.name}'")
    return task.model_copy(update={"recipe": recipe})


def _refuse_overruled(
    recipe: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]], names: Sequence[str], path: Path
) -> None:
    for key in recipe:
        if all(key in recipes.get(name, {}) for name in names):
            raise InputError(f"{path}: recipe.{key} has no effect, as recipes say it of every task")


def _check_steps(suite: Suite, path: Path) -> None:
    for step in suite.probe:
        splits = (step.train, step.test, *([step.dev] if step.dev else []))
        _need_split(suite, step.view, splits, "hidden", path)
    for comparison in suite.attention:
        _need_split(suite, comparison.view, (comparison.split,), "attention", path)
    for pairing in suite.similarity:
        _need_split(suite, pairing.view, (pairing.split,), "hidden", path)
    named = [name for step in suite.generate for name in step.models]
    for name in [*named, *(name for question in suite.answer for name in question.models)]:
        if name not in suite.models:
            raise unknown(f"model in {path}", name, suite.models)


def _check_models(suite: Suite, path: Path) -> None:
    for name, model in suite.models.items():
        start = model.adapt.base if model.adapt is not None else model.source
        later = list(suite.models)[list(suite.models).index(name) + 1 :]
        if start in later:
            raise InputError(f"{path}: model '{name}' is made from '{start}', which must stand before it")


def _need_split(suite: Suite, view: str, splits: Sequence[str], keep: str, path: Path) -> None:
    if view not in suite.extract:
        raise unknown(f"view in {path}", view, suite.extract)
    for split in splits:
        if split not in suite.extract[view].splits:
            raise unknown(f"split of view '{view}' in {path}", split, suite.extract[view].splits)
    if keep not in suite.extract[view].options.keep:
        raise InputError(f"{path}: view '{view}' keeps no {keep}, which a step needs")
