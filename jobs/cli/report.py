"""`report`: the page of a study, drawn only if something that it is made of has changed."""

from pathlib import Path
from typing import Any

import click

from microtome.analysis.report.stamp import is_current
from microtome.jobs.cli.options import UserPath, overrides_option
from microtome.jobs.suite.page_sources import page_sources
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.lazy import LazyImport

# pandas and matplotlib come with it, which a page that is up to date does without
DRAW = LazyImport("microtome.jobs.suite.draw:draw_page")


@click.command("report")
@click.argument("suite")
@overrides_option
@click.option(
    "--out", type=UserPath(file_okay=False), default="report", show_default=True, help="folder to write"
)
@click.option(
    "--figures", type=click.Choice(["pdf", "svg", "png"]), help="also write every figure into OUT/figures"
)
def report_command(suite: str, overrides: tuple[str, ...], out: str, figures: Any) -> None:
    """Write the results of SUITE so far as one self-contained HTML page.

    A page that is there and was made of the same results and settings by the same code is left as it is;
    with --figures, everything is drawn.
    """
    store = Store()
    plan = make_plan(load_suite(suite, overrides), store)
    artifacts = store.find_all(job.request for job in plan.jobs)
    sources = page_sources(plan, artifacts, store)
    page = Path(out) / "index.html"
    if figures is None and is_current(page, sources):
        click.echo(f"unchanged: {page}")
        return
    before = page.read_bytes() if page.is_file() else b""
    DRAW.load()(plan, artifacts, store, Path(out), sources, figures)
    click.echo(f"{'unchanged' if before == page.read_bytes() else 'wrote'}: {page}")
    if figures:
        click.echo(f"figures: {page.with_name('figures')}")
