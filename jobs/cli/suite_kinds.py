"""`suite kinds`: what a job of a suite can be."""

import click

from microtome.jobs.cli.options import console, stage_option
from microtome.jobs.cli.tables import as_table
from microtome.jobs.kinds import all_kinds


@click.command("kinds")
@stage_option
def suite_kinds(stages: tuple[str, ...]) -> None:
    """List the kinds of job that a suite may have, in the order in which they are planned."""
    rows = [
        {
            "kind": kind.name,
            "what it is": kind.title,
            "stage": kind.stage,
            "GPU": "if there is one" if kind.needs_gpu else "",
            "goes on after a stop": "yes" if kind.resumable else "",
            "version": kind.version,
        }
        for kind in all_kinds()
        if not stages or kind.stage in stages
    ]
    console().print(as_table(rows))
