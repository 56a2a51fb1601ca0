"""What a suite comes to: every setting with its value and where that is said."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microtome.jobs.suite.include import SuiteValues, read_suite, suite_file, suite_names
from microtome.jobs.suite.suite import Suite, load_suite
from microtome.jobs.tasks import Recipe
from microtome.store.errors import unknown

DEFAULT, TASK, SET = "default", "task file", "--set"
# What a suite is called and how its recipes came about: no settings of what is run.
ABOUT = ("include", "name", "description", "study", "recipe", "recipes")


@dataclass(frozen=True)
class Setting:
    """A value, and where it is said: "default", "task file", "--set", or a suite file and the key in it."""

    value: Any
    origin: str


def task_settings(suite_name: str, overrides: Sequence[str] = ()) -> dict[str, dict[str, Setting]]:
    """Task -> setting of its recipe -> what it is in the end."""
    suite, read = load_suite(suite_name, overrides), read_suite(suite_file(suite_name))
    set_keys = {override.partition("=")[0] for override in overrides}
    return {
        task: {name: _setting(suite, read, set_keys, task, name) for name in Recipe.model_fields}
        for task in suite.tasks
    }


def suite_settings(suite: Suite) -> dict[str, Any]:
    """Everything a suite says beside its recipes, flat: "models.bert.seed" -> value."""
    values = suite.model_dump(mode="json", exclude=set(ABOUT), exclude_defaults=True)
    return dict(_flat(values))


def differences(one: str, other: str, overrides: Sequence[str] = ()) -> list[dict[str, str]]:
    """The settings in which two suites differ, recipes by task first: rows of a table."""
    recipes = [task_settings(one, overrides), task_settings(other)]
    rows = []
    for task in dict.fromkeys([*recipes[0], *recipes[1]]):
        sides = [settings.get(task) for settings in recipes]
        for name in Recipe.model_fields:
            values = [side[name].value if side is not None else None for side in sides]
            if values[0] != values[1]:
                rows.append(_row(task, name, values, one, other))
    flat = [suite_settings(load_suite(one, overrides)), suite_settings(load_suite(other))]
    for key in dict.fromkeys([*flat[0], *flat[1]]):
        values = [side.get(key) for side in flat]
        if values[0] != values[1]:
            rows.append(_row("", key, values, one, other))
    return rows


def counterpart(suite: str, against: str) -> str:
    """The suite that another is compared with: a name, a file, or the end of a name, as `exact` is."""
    longer = f"{suite}-{against}"
    if against in suite_names() or against.endswith((".yaml", ".yml")):
        return against
    if longer not in suite_names():
        raise unknown("suite", against, [*suite_names(), "exact"], see="microtome suite ls")
    return longer


def shown(value: Any) -> str:
    """A value as YAML has it in one line; nothing for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return str(value)


def _row(task: str, name: str, values: Sequence[Any], one: str, other: str) -> dict[str, str]:
    changed = one if one != other else f"{one}, changed"
    return {"task": task, "setting": name, changed: shown(values[0]), other: shown(values[1])}


def _setting(suite: Suite, read: SuiteValues, set_keys: set[str], task: str, name: str) -> Setting:
    value = getattr(suite.task(task).recipe, name)
    for place, values in ((f"recipes.{task}", suite.recipes.get(task, {})), ("recipe", suite.recipe)):
        if name in values:
            key = f"{place}.{name}"
            by_hand = any(key == typed or key.startswith(f"{typed}.") for typed in set_keys)
            file = read.file_of(key.split("."))
            return Setting(value, SET if by_hand else f"{file.name}: {place}")
    default = Recipe.model_fields[name].default
    return Setting(value, DEFAULT if value == default else TASK)


def _flat(values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _flat(value, f"{above}.{key}" if above else str(key))
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        for number, value in enumerate(values):
            yield from _flat(value, f"{above}.{number}")
    else:
        yield above, values
