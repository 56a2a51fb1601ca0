"""`--set KEY=VALUE`: a suite changed for one command."""

from collections.abc import Sequence
from typing import Any

from microtome.jobs.yaml_files import parse_yaml
from microtome.store.errors import InputError


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set what `recipe.epochs=1` and the like say in a nested mapping; the values are YAML."""
    keys = [_key(override) for override in overrides]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"--set {key} is given twice")
    for key, override in zip(keys, overrides, strict=True):
        _apply(values, key, override)


def _key(override: str) -> str:
    key, equals, _ = override.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(f"--set takes KEY=VALUE, for example recipe.epochs=1; found '{override}'")
    return key


def _apply(values: dict[str, Any], key: str, override: str) -> None:
    value = parse_yaml(override[len(key) + 1 :], f"--set {key}")
    steps = key.split(".")
    if steps[0] == "recipe" and len(steps) == 2:
        _take_out(values.get("recipes"), steps[1])
    place = values
    for step in steps[:-1]:
        if place.get(step) is None:  # a section that is empty, or not there
            place[step] = {}
        place = place[step]
        if not isinstance(place, dict):
            raise InputError(f"--set {override}: '{step}' has no keys below it")
    place[steps[-1]] = value


def _take_out(recipes: Any, key: str) -> None:
    """What is set for every task's recipe goes over what the suite says of one. That `recipes` may be no
    mapping of mappings is said when the suite is read."""
    for recipe in recipes.values() if isinstance(recipes, dict) else ():
        if isinstance(recipe, dict):
            recipe.pop(key, None)
