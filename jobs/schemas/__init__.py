"""What task files and suite files may hold: a JSON Schema for editors and a page for people.

Both are made from the settings classes. The schemas stand beside this file as `task.json` and `suite.json`;
`microtome schema` prints them.
"""

import json
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from microtome.jobs.data.readers import READERS
from microtome.jobs.suite.suite import suite_class
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.config import Config, OneOf

FILES: dict[str, Callable[[], type[Config]]] = {"task": lambda: Task, "suite": suite_class}
INTRODUCTIONS = {
    "task": "`microtome task init FILE...` drafts a task file, `microtome task check FILE` reads what it "
    "names.",
    "suite": "`microtome suite init --task FILE --model NAME` drafts a suite file, `microtome suite plan "
    "FILE` says what it would run.",
}
EXAMPLES = {
    "task": """\
name: severity
type: classification
title: How severe a reported event is
labels: [mild, severe]
licence: ours
obtain: ask the authors
data:
  format: tsv
  root: .  # relative to this file
  files: {train: train.tsv, test: test.tsv}  # dev is then a part of train
  columns: {id: id, text_a: report, label: [severity, grade]}  # the one or the other
""",
    "suite": """\
name: severity-study
description: Two encoders on our reports, before and after fine-tuning
models: [bert, biobert]
tasks: [severity.yaml]
fractions: [0, 100]
extract:
  layers: {splits: {train: 2000, dev: 500, test: 1000}, options: {keep: [hidden]}}
probe: [{view: layers, dev: dev}]
similarity: [{view: layers}]
""",
}


def schema_file(what: str) -> Path:
    """The schema that is shipped with the package."""
    return Path(__file__).with_name(f"{what}.json")


def schema_text(what: str) -> str:
    """The JSON Schema of a kind of file."""
    schema = FILES[what]().model_json_schema()
    schema["title"] = f"microtome {what} file"
    if what == "task":
        schema["properties"]["type"]["enum"] = list(TASK_TYPES)
        for name in ("DataSpec", "HubSpec"):
            schema["$defs"][name]["properties"]["format"]["enum"] = list(READERS)
    else:
        _allow_short_forms(schema)
    return json.dumps(schema, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def page_text(what: str) -> str:
    """Every key of a kind of file, with its default and meaning, as Markdown."""
    parts = [f"# The keys of a {what} file\n", f"{INTRODUCTIONS[what]}\n", f"```yaml\n{EXAMPLES[what]}```"]
    classes = dict(_classes(FILES[what](), "", set()))
    for path, settings in classes.items():
        parts.append(f"\n## {f'`{path}`' if path else 'At the top'}\n")
        parts += ["| key | default | meaning |", "|---|---|---|"]
        own = dict(settings.model_fields.items())
        parents = [path for path, other in classes.items() if other in settings.__mro__[1:]]
        for parent in parents:
            parts.append(f"| all of `{parent}` | | as there |")
            own = {name: field for name, field in own.items() if name not in classes[parent].model_fields}
        parts += [_row(name, field) for name, field in own.items()]
    return "\n".join(parts) + "\n"


def _allow_short_forms(schema: dict[str, Any]) -> None:
    """What a suite may hold besides: models as a list of names, nothing for their settings, and, with
    `include`, only what differs, where null takes a key away."""
    models = schema["properties"]["models"]
    settings = models["additionalProperties"]
    models["additionalProperties"] = {"anyOf": [settings, {"type": "null"}]}
    schema["properties"]["models"] = {
        "description": "names of models, or what is said of each",
        "anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, models],
    }
    complete = [key for key in schema["required"] if key != "name"]
    schema["required"] = ["name"]
    schema["anyOf"] = [{"required": ["include"]}, {"required": complete}]
    for key, value in schema["properties"].items():
        if isinstance(value.get("additionalProperties"), dict):
            value["additionalProperties"] = {"anyOf": [value["additionalProperties"], {"type": "null"}]}
        if key not in ("include", "name"):
            schema["properties"][key] = {"anyOf": [value, {"type": "null"}]}


def _classes(
    settings: type[BaseModel], path: str, seen: set[type[BaseModel]]
) -> Iterator[tuple[str, type[BaseModel]]]:
    """(path, settings class) of a file and of all that is in it, each class where it comes first."""
    if settings in seen:
        return
    seen.add(settings)
    yield path, settings
    for name, field in settings.model_fields.items():
        for inner, suffix in _inner(field.annotation, ""):
            yield from _classes(inner, f"{path}.{name}{suffix}".removeprefix("."), seen)


def _inner(annotation: Any, suffix: str) -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation, suffix
        return
    suffixes = {dict: ".<name>", tuple: "[]"}
    for part in typing.get_args(annotation):
        yield from _inner(part, suffix + suffixes.get(typing.get_origin(annotation), ""))


def _row(name: str, field: FieldInfo) -> str:
    default = "needed" if field.is_required() else _shown(field.get_default(call_default_factory=True))
    settings = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    meaning = field.description or ("settings of their own" if settings else "")
    choices = _choices(field)
    if choices:
        meaning = f"{meaning}{'; ' if meaning else ''}one of {', '.join(map(str, choices))}"
    return f"| `{name}` | {default} | {meaning.replace('|', chr(92) + '|')} |"


def _choices(field: FieldInfo) -> list[Any]:
    for mark in field.metadata:
        if isinstance(mark, OneOf):
            return list(mark.names())
    parts = [field.annotation, *typing.get_args(field.annotation)]
    return [c for part in parts if typing.get_origin(part) is typing.Literal for c in typing.get_args(part)]


def _shown(default: Any) -> str:
    if default is None or default == "" or default == () or default == {}:
        return ""
    if isinstance(default, BaseModel):
        return "see below"
    value = list(default) if isinstance(default, tuple) else default
    return f"`{json.dumps(value, ensure_ascii=False, allow_nan=False)}`"
