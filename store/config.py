"""A knob is declared once: YAML keys, command-line options and identities all come from these fields."""

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema, core_schema

from microtome.store.config_checks import refuse_repeated_items, refuse_strange_values
from microtome.store.errors import InputError, unknown
from microtome.store.identity import canonical_json

Layer = Annotated[int, Field(ge=0)]
Location = tuple[int | str, ...]  # the keys on the way to a value
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every source of randomness takes


def runtime(default: Any, description: str, **limits: Any) -> Any:
    """A field that changes how a job runs but not what it makes, so it stays out of the identity."""
    return Field(default, description=description, json_schema_extra={"runtime": True}, **limits)


@dataclass(frozen=True)
class OneOf:
    """Marks a text field whose values are the names of a registry: `Annotated[str, OneOf("probe", names)]`.

    The names are asked for when a value comes, so that the registry is the only place where they stand.
    """

    what: str
    names: Callable[[], Iterable[str]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(core) | {"enum": list(self.names())}

    def _known(self, value: str) -> str:
        if value not in self.names():
            raise ValueError(str(unknown(self.what, value, self.names())))
        return value


class Config(BaseModel):
    """A frozen, strict settings object: an unknown key, a value out of range, or a number that is not finite
    is an InputError.

    `json_schema_extra` of a field may hold `runtime` (see above), `any_order` (a tuple that means the same in
    every order) and `repeats` (a tuple that may hold an item twice).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_strange_values(cls, value: Any, about: ValidationInfo) -> Any:
        refuse_strange_values(value, cls.model_fields[str(about.field_name)])
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_repeated_items(cls, value: Any, about: ValidationInfo) -> Any:
        refuse_repeated_items(value, cls.model_fields[str(about.field_name)])
        return value

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str | Callable[[Location], str]) -> Self:
        """Build from a mapping read at `where` (a file, an option), which may depend on the keys that lead to
        a mistake; raises InputError in one line."""
        if not isinstance(values, Mapping):
            raise InputError(f"{where if isinstance(where, str) else where(())}: expected keys and values")
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            errors = error.errors()
            place_of = (lambda _: where) if isinstance(where, str) else where
            first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
            if first["type"] == "extra_forbidden":
                raise _unknown_key(cls, first["loc"], place_of(first["loc"])) from None
            missing = [e["loc"] for e in errors if e["type"] == "missing"]
            if len(missing) > 1:
                raise _missing_keys(missing, place_of) from None
            path = ".".join(str(p) for p in first["loc"])
            what = first["msg"].removeprefix("Value error, ")
            message = f"{path or 'value'}: {what[0].lower()}{what[1:]}"
            raise InputError(f"{place_of(first['loc'])}: {message}") from None

    def settled(self) -> Self:
        """The same request in one form, where several forms ask for the same: a subclass puts what has no
        effect back to its default."""
        return self

    def identity(self) -> dict[str, Any]:
        """The settings that identify a result, as plain JSON values. Runtime fields and fields at their
        default are left out, so that a new field with a default changes no identity."""
        return _fields(self, defaults=False)

    def all_settings(self) -> dict[str, Any]:
        """The settings that decide a result, as plain JSON values, defaults included: what people read."""
        return _fields(self, defaults=True)


def _fields(config: Config, *, defaults: bool) -> dict[str, Any]:
    settled = config.settled()
    fields = {}
    for name, field in type(settled).model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if extra.get("runtime"):
            continue
        sort = extra.get("any_order") is True
        value = _plain(getattr(settled, name), defaults=defaults, sort=sort)
        if not defaults and not field.is_required():
            default = _plain(field.get_default(call_default_factory=True), defaults=False, sort=sort)
            if _same(value, default):
                continue
        fields[name] = value
    return fields


def _plain(value: Any, *, defaults: bool, sort: bool = False) -> Any:
    """A value of a field as JSON has it."""
    if isinstance(value, Config):
        return _fields(value, defaults=defaults)
    if isinstance(value, Mapping):
        return {key: _plain(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [_plain(item, defaults=defaults) for item in value]
        return sorted(items) if sort else items
    return value


def _same(one: Any, other: Any) -> bool:
    """Whether two values have the same canonical form; in Python alone, True equals 1."""
    return one == other and canonical_json(one) == canonical_json(other)


def _missing_keys(locations: Sequence[Location], place_of: Callable[[Location], str]) -> InputError:
    """All required keys that are missing, in one line, grouped by the place that they are missing from."""
    keys: dict[str, list[str]] = {}
    for location in locations:
        keys.setdefault(place_of(location), []).append(".".join(map(str, location)))
    return InputError("; ".join(f"{where}: fields required: {', '.join(at)}" for where, at in keys.items()))


def _unknown_key(cls: type[BaseModel], location: Location, where: str) -> InputError:
    place: Any = cls
    for step in location[:-1]:
        place = _inside(place, step)
    prefix = ".".join(str(p) for p in location[:-1])
    key = f"key in {where}" + (f" under '{prefix}'" if prefix else "")
    return unknown(key, location[-1], getattr(place, "model_fields", {}))


def _inside(annotation: Any, step: int | str) -> Any:
    """The type at one step of a path: a field of a model, or an item of a mapping or a tuple."""
    fields = getattr(annotation, "model_fields", None)
    inner = fields[step].annotation if fields is not None else typing.get_args(annotation)[-1]
    if typing.get_origin(annotation) is tuple:
        inner = typing.get_args(annotation)[0]
    if typing.get_origin(inner) in (typing.Union, types.UnionType):
        inner = next(a for a in typing.get_args(inner) if a is not types.NoneType)
    return inner
