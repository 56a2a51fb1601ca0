"""`suite ls`: the suites that come with microtome. Apart from suites.py: what a job needs is not imported."""

import click

from microtome.jobs.cli.options import console
from microtome.jobs.cli.tables import as_table
from microtome.jobs.suite.include import suite_description, suite_names


@click.command("ls")
def suite_ls() -> None:
    """List the suites that come with microtome."""
    console().print(as_table([{"suite": n, "description": suite_description(n)} for n in suite_names()]))
