"""The `microtome` command and its groups."""

import os
import sys
from typing import Any

import click

from jobs.cli.analyses import attention_command, probe_command, similarity_command
from jobs.cli.cache import cache_group
from jobs.cli.checkpoints import adapt_command, extract_command, finetune_command, predict_command
from jobs.cli.generation import generate_command
from jobs.cli.listings import model_group, task_group
from jobs.cli.publishing import export_command, push_command
from jobs.cli.suites import report_command, results_command, suite_group
from store.errors import MicrotomeError, model_packages


class _OneLineErrors(click.Group):
    """A user's mistake is one line on stderr and an exit status, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with model_packages("this command"):
                return super().invoke(ctx)
        except MicrotomeError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            ctx.exit(error.exit_status)
        except KeyboardInterrupt:
            click.echo("stopped; the same command goes on where this one was", err=True)
            ctx.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(141)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="microtome", message="microtome %(version)s")
def main() -> None:
    """Fine-tune language models on biomedical tasks, cache every layer's hidden states and attentions,
    and study them again and again without the model.

    \b
    Data and models are found in MICROTOME_DATA/<task>/ and MICROTOME_MODELS/<name>/,
    then on the hub unless HF_HUB_OFFLINE=1.
    Results are kept in MICROTOME_STORE (default: artifacts/).
    """


for _command in (
    suite_group,
    finetune_command,
    adapt_command,
    extract_command,
    predict_command,
    generate_command,
    probe_command,
    attention_command,
    similarity_command,
    results_command,
    report_command,
    task_group,
    model_group,
    cache_group,
    export_command,
    push_command,
):
    main.add_command(_command)
