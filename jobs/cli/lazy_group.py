"""A group of commands that are imported when they are called: its help needs none of them."""

from typing import Any

import click

from microtome.store.lazy import LazyTable


class LazyGroup(click.Group):
    """`table` says where each command is, and the line that the group's help shows of it."""

    def __init__(self, *args: Any, table: LazyTable[click.Command], **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.table.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.table.about(name)) for name in self.table])
