"""Options shared by commands, and click options made from the fields of a Config."""

import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from rich.console import Console

from store.config import Config, OneOf

C = TypeVar("C", bound=Config)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def format_option(about: str) -> Decorator:
    """`--format table|json`, as the parameter `form`."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help=about,
    )


def console() -> Console:
    """Where tables and progress go; wide enough for a table where there is no terminal.

    Square brackets are text, not markup: they may be in names and in what failed.
    It holds on to today's stdout: while a job runs in this process, `sys.stdout` is the job's log.
    """
    screen = Console(file=sys.stdout, highlight=False, markup=False)
    return (
        screen if screen.is_terminal else Console(file=sys.stdout, highlight=False, markup=False, width=160)
    )


def options_of(config: type[Config], *, without: Iterable[str] = (), prefix: str = "") -> Decorator:
    """A decorator that adds an option for every field of `config`, with its description as help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, field in reversed(config.model_fields.items()):
            if name not in without:
                function = _option(prefix + name, field)(function)
        return function

    return decorate


def given(config: type[C], values: dict[str, Any], *, prefix: str = "", **more: Any) -> C:
    """A config from the options that were given; what was not takes the field's default."""
    named = {name: values.get(prefix + name) for name in config.model_fields}
    return config.parse({k: v for k, v in named.items() if v not in (None, ())} | more, where="options")


def _option(name: str, field: Any) -> Decorator:
    kind, multiple = _click_type(field.annotation)
    for mark in field.metadata:
        if isinstance(mark, OneOf):
            kind = click.Choice(list(mark.names()))
    default = field.get_default()
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    text = (field.description or "").rstrip(".")
    has_default = default is not None and not field.is_required()
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=kind,
        multiple=multiple,
        help=text + (f"  [default: {shown}]" if has_default else ""),
    )


def _click_type(annotation: Any) -> tuple[Any, bool]:
    """The click type of a field, and whether the option may be given several times."""
    origin = typing.get_origin(annotation)
    inner = [a for a in typing.get_args(annotation) if a is not type(None)]
    if origin in (typing.Union, types.UnionType):
        return _click_type(inner[0])
    if origin is tuple:
        return _click_type(inner[0])[0], True
    if origin is typing.Literal:
        return click.Choice([str(value) for value in inner]), False
    return annotation, False
