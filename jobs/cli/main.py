"""The `microtome` command and its groups."""

import atexit
import gc
import os
import sys
from typing import Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from microtome.jobs.cli.commands import COMMANDS
from microtome.jobs.cli.lazy_group import LazyGroup
from microtome.jobs.process import stopping
from microtome.store.errors import MicrotomeError, model_packages

DEBUG = "MICROTOME_DEBUG"
ALLOCATIONS_BETWEEN_COLLECTIONS = 50_000  # importing makes many objects and no garbage: a tenth of starting
SURROUNDINGS = (OSError, UnicodeError, RecursionError)  # what files and terminals do, rather than our code


class _OneLineErrors(LazyGroup):
    """A user's mistake is one line on stderr and an exit status, never a traceback; a bug of ours is one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            _end(ctx, _misused(error), error.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        gc.set_threshold(ALLOCATIONS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
        # Of a process that ends nothing has to be collected: that takes a second once torch is imported.
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)
        with stopping.listening():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            with model_packages("this command"):
                return super().invoke(ctx)
        except NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            _end(ctx, _misused(error), error.exit_code)
        except MicrotomeError as error:
            _end(ctx, str(error), error.exit_status)
        except KeyboardInterrupt:
            click.echo("stopped; the same command goes on where this one was", err=True)
            ctx.exit(stopping.exit_status())
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(141)
        except SURROUNDINGS as error:
            _end(ctx, f"{_reason(error)} ({DEBUG}=1 shows where)", MicrotomeError.exit_status)


def _end(ctx: click.Context, message: str, status: int) -> NoReturn:
    """Say what is wrong and exit; with MICROTOME_DEBUG, raise what is at hand instead."""
    if os.environ.get(DEBUG):
        raise
    line = " ".join(message.split())
    click.echo(f"error: {''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line)}", err=True)
    ctx.exit(status)


def _misused(error: click.UsageError) -> str:
    command = f". See: {error.ctx.command_path} --help" if error.ctx is not None else ""
    return error.format_message().rstrip(".") + command


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, RecursionError):
        return "something that was read is nested too deep"
    return str(error)


@click.group(cls=_OneLineErrors, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="microtome", message="microtome %(version)s")
def main() -> None:
    """Fine-tune language models on biomedical tasks, cache every layer's hidden states and attentions,
    and study them again and again without the model.

    \b
    Data and models are found in MICROTOME_DATA/<task>/ and MICROTOME_MODELS/<name>/,
    then on the hub unless HF_HUB_OFFLINE=1.
    Results are kept in MICROTOME_STORE (default: artifacts/), a folder or s3://BUCKET/PREFIX (also gs://, az://);
    the work of the latter lies in MICROTOME_SCRATCH.
    With MICROTOME_DEBUG=1 an error shows its traceback.
    """
