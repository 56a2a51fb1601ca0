"""`suite show`: what a suite comes to, and how it differs from another."""

import click

from microtome.jobs.cli.options import console, overrides_option
from microtome.jobs.cli.tables import as_table
from microtome.jobs.suite.effective import (
    DEFAULT,
    counterpart,
    differences,
    shown,
    suite_settings,
    task_settings,
)
from microtome.jobs.suite.latex import settings_table
from microtome.jobs.suite.suite import load_suite
from microtome.store.errors import InputError


@click.command("show")
@click.argument("suite")
@overrides_option
@click.option("--against", metavar="SUITE", help="show what differs from this suite; exact: from SUITE-exact")
@click.option(
    "--all", "everything", is_flag=True, help="also the settings of recipes that are at their defaults"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "latex"]),
    default="text",
    show_default=True,
    help="latex: the recipe of each task as a table for the package booktabs",
)
def suite_show(
    suite: str, overrides: tuple[str, ...], against: str | None, everything: bool, form: str
) -> None:
    """Show every setting of SUITE and where it is said: in the suite, in a task file, or with --set.

    With --against, only the settings that differ, side by side. With --format latex, the recipes alone: every
    setting that some task does not have at its default, for all tasks.
    """
    out = console()
    if form == "latex":
        if against is not None:
            raise InputError("--format latex has no differences: leave out --against")
        click.echo(settings_table(_for_all_tasks(suite, overrides, everything)))
        return
    if against is not None:
        rows = differences(suite, counterpart(suite, against), overrides)
        out.print(as_table(rows) if rows else "no setting differs")
        return
    rows = [
        {"task": task, "setting": name, "value": shown(setting.value), "said in": setting.origin}
        for task, settings in task_settings(suite, overrides).items()
        for name, setting in settings.items()
        if everything or setting.origin != DEFAULT
    ]
    out.print(as_table(rows))
    out.print()
    values = suite_settings(load_suite(suite, overrides))
    out.print(as_table([{"setting": key, "value": shown(v)} for key, v in values.items()]))


def _for_all_tasks(suite: str, overrides: tuple[str, ...], everything: bool) -> dict[str, dict[str, str]]:
    """Task -> setting -> value, of the settings that are not at their defaults in every task."""
    by_task = task_settings(suite, overrides)
    names = dict.fromkeys(
        name
        for settings in by_task.values()
        for name, setting in settings.items()
        if everything or setting.origin != DEFAULT
    )
    return {task: {name: shown(settings[name].value) for name in names} for task, settings in by_task.items()}
