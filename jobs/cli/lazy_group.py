"""A group of commands that are imported when they are called: its help needs none of them."""

from typing import cast

import click

from microtome.store.lazy import LazyTable


class LazyGroup(click.Group):
    """A group whose `commands` are a LazyTable: where each command is, and its line in the group's help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the table

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        table = cast(LazyTable[click.Command], self.commands)
        with formatter.section("Commands"):
            formatter.write_dl([(name, table.about(name)) for name in table])
