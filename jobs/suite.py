"""A suite: the models, tasks, fractions and questions of one study, as a YAML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator

from analysis.attention import AttentionConfig
from analysis.probing import ProbeConfig
from analysis.similarity import SimilarityConfig
from jobs.adapt import AdaptConfig
from jobs.answer import AnswerConfig
from jobs.extract import ExtractConfig
from jobs.generate import GenerateConfig
from jobs.tasks import load_yaml
from store.config import Config
from store.errors import InputError, MissingError, unknown
from store.places import place, shown, there

SUITES = Path(__file__).parent / "suites"


class ModelSpec(Config):
    """A model of a suite: itself by default, or another under this name, or one that is made first."""

    source: str | None = Field(None, description="short name, hub id or folder, if not the name itself")
    adapt: AdaptConfig | None = Field(None, description="make it by training a language model")
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random: the architecture and tokenizer alone, drawn anew"
    )
    seed: int = Field(0, ge=0, description="of random weights")
    fractions: tuple[float, ...] | None = Field(None, description="of this model, if not those of the suite")


class View(Config):
    """One cut of every checkpoint: which splits, and what is kept of them."""

    splits: dict[str, int | None] = Field(description="split -> at most so many examples, a seeded sample")
    options: ExtractConfig = ExtractConfig()


class ProbeStep(Config):
    """A probe on the caches of a view."""

    view: str
    train: str = Field("train", description="split the probe is fitted on")
    test: str = Field("test", description="split it is scored on")
    dev: str | None = Field(None, description="split its regularisation is chosen on; else part of train")
    tasks: tuple[str, ...] = Field((), description="only of these tasks; of all if none is named")
    options: ProbeConfig = ProbeConfig()


class AttentionStep(Config):
    """Attentions of a view compared: of the fine-tuned model with the pretrained one, and of an adapted
    model with its base."""

    view: str
    split: str = "test"
    options: AttentionConfig = AttentionConfig()


class SimilarityStep(Config):
    """Hidden states of a view compared, layer with layer; the same pairs of models as for attention."""

    view: str
    split: str = "test"
    options: SimilarityConfig = SimilarityConfig()


class GenerateStep(Config):
    """Prompts that causal models of the suite go on writing."""

    models: tuple[str, ...] = Field((), description="of the suite; all if none is named")
    prompts: tuple[str, ...] = Field(min_length=1)
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
    models: dict[str, ModelSpec]
    tasks: tuple[str, ...]
    fractions: tuple[float, ...] = (0, 10, 30, 50, 100)
    seeds: tuple[int, ...] = (1,)
    recipe: dict[str, Any] = Field(default_factory=dict, description="for every task, over its own recipe")
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="per task, over that")
    extract: dict[str, View] = Field(default_factory=dict)
    probe: tuple[ProbeStep, ...] = ()
    attention: tuple[AttentionStep, ...] = ()
    similarity: tuple[SimilarityStep, ...] = ()
    generate: tuple[GenerateStep, ...] = ()
    answer: tuple[AnswerStep, ...] = ()

    @field_validator("models", mode="before")
    @classmethod
    def _list_of_names(cls, models: Any) -> Any:
        if isinstance(models, Sequence) and not isinstance(models, str):
            return {name: {} for name in models}
        return {name: spec or {} for name, spec in models.items()} if isinstance(models, Mapping) else models


def suite_names() -> list[str]:
    """The suites that come with microtome."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(name_or_path: str, overrides: Sequence[str] = ()) -> Suite:
    """A suite by name or file. `overrides` are KEY=VALUE with dots between keys and YAML values."""
    path = place(name_or_path)
    if not name_or_path.endswith((".yaml", ".yml")):
        path = SUITES / f"{name_or_path}.yaml"
        if not there(path) or not path.is_file():
            raise unknown("suite", name_or_path, suite_names(), see="microtome suite ls")
    elif not there(path) or not path.is_file():
        raise MissingError(f"no suite file {shown(path)}")
    values = load_yaml(path)
    for override in overrides:
        apply_override(values, override)
    suite = Suite.parse(values, where=str(path))
    for step in suite.probe:
        splits = (step.train, step.test, *([step.dev] if step.dev else []))
        _need_split(suite, step.view, splits, "hidden", path)
        for task in step.tasks:
            if task not in suite.tasks:
                raise unknown(f"task under probe in {path}", task, suite.tasks)
    for comparison in suite.attention:
        _need_split(suite, comparison.view, (comparison.split,), "attention", path)
    for pairing in suite.similarity:
        _need_split(suite, pairing.view, (pairing.split,), "hidden", path)
    named = [name for step in suite.generate for name in step.models]
    for name in [*named, *(name for question in suite.answer for name in question.models)]:
        if name not in suite.models:
            raise unknown(f"model in {path}", name, suite.models)
    for name, model in suite.models.items():
        if model.adapt is not None and model.weights == "random":
            raise InputError(f"{path}: model '{name}' is either adapted or random")
        start = model.adapt.base if model.adapt is not None else model.source
        later = list(suite.models)[list(suite.models).index(name) + 1 :]
        if start in later:
            raise InputError(f"{path}: model '{name}' is made from '{start}', which must stand before it")
    for task in suite.recipes:
        if task not in suite.tasks:
            raise unknown(f"task under recipes in {path}", task, suite.tasks)
    return suite


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set `recipe.epochs=1` in a nested mapping; the value is YAML. What is set for every task's recipe
    goes over what the suite says of one."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set takes KEY=VALUE, for example recipe.epochs=1; found '{override}'")
    steps = key.split(".")
    if steps[0] == "recipe" and len(steps) == 2:
        for recipe in values.get("recipes", {}).values():
            recipe.pop(steps[1], None)
    for step in steps[:-1]:
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: '{step}' has no keys below it")
    try:
        values[steps[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {override}: the value is not YAML") from None


def _need_split(suite: Suite, view: str, splits: Sequence[str], keep: str, path: Path) -> None:
    if view not in suite.extract:
        raise unknown(f"view in {path}", view, suite.extract)
    for split in splits:
        if split not in suite.extract[view].splits:
            raise unknown(f"split of view '{view}' in {path}", split, suite.extract[view].splits)
    if keep not in suite.extract[view].options.keep:
        raise InputError(f"{path}: view '{view}' keeps no {keep}, which a step needs")
