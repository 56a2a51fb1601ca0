"""Options shared by commands, and click options made from the fields of a Config."""

import json
import math
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from microtome.jobs.kinds import STAGES
from microtome.store.config import Config, OneOf
from microtome.store.files.outputs import whole_file
from microtome.store.files.paths import place

C = TypeVar("C", bound=Config)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Number(click.FloatRange):
    """A finite number in a range; click itself takes nan, which is in every range, and inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number", param, ctx)
        return found


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


overrides_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="change the suite, e.g. recipe.epochs=1"
)


stage_option = click.option(
    "--stage",
    "stages",
    multiple=True,
    type=click.Choice(STAGES),
    help="only jobs of the kinds of this stage, see: suite kinds; may be repeated",
)


class UserPath(click.Path):
    """A path that a person wrote: `~` is a home folder, also where the shell leaves it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(place(value), param, ctx)


def console() -> Console:
    """Where tables and progress go; wide enough for a table where there is no terminal.

    Square brackets are text, not markup: they may be in names and in what failed.
    It holds on to today's stdout: while a job runs in this process, `sys.stdout` is the job's log.
    """
    screen = Console(file=sys.stdout, highlight=False, markup=False)
    return (
        screen if screen.is_terminal else Console(file=sys.stdout, highlight=False, markup=False, width=160)
    )


@contextmanager
def lines_to(out: str | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes one object as a line of JSON, to the screen if `out` is not given. The file is
    there when all lines are, or not at all; that it can be written is found out before there are any."""
    if out is None:
        yield lambda row: click.echo(json.dumps(row, ensure_ascii=False, allow_nan=False))
        return
    count = 0
    with whole_file(Path(out)) as staged, staged.open("w", encoding="utf-8") as stream:

        def write(row: dict[str, Any]) -> None:
            nonlocal count
            stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1

        yield write
    click.echo(f"wrote {count} rows: {out}")


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
        return _click_type(inner[0]) if len(inner) == 1 else (str, False)  # the settings class decides
    if origin is tuple:
        return _click_type(inner[0])[0], True
    if origin is typing.Literal:
        return click.Choice([str(value) for value in inner]), False
    return annotation, False
