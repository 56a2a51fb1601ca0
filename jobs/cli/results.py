"""`results`: the rows of a study."""

from pathlib import Path
from typing import Any

import click

from microtome.jobs.cli.options import UserPath, console, overrides_option
from microtome.jobs.cli.tables import print_rows, without_empty_columns
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.results import derived_rows, measured_rows
from microtome.jobs.suite.spent import spent_table
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.files.outputs import whole_file, write_whole
from microtome.store.frames import as_csv


@click.command("results")
@click.argument("suite")
@overrides_option
@click.option(
    "--derived", is_flag=True, help="what is derived from several jobs, in place of what they measured"
)
@click.option("--spent", is_flag=True, help="what each job took: device, time, memory and disk")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="of the rows; in csv a text that a spreadsheet would run as a formula begins with an apostrophe",
)
@click.option("--out", type=UserPath(dir_okay=False), help="file to write; needed for parquet")
def results_command(
    suite: str, overrides: tuple[str, ...], derived: bool, spent: bool, form: str, out: str | None
) -> None:
    """Print what the jobs of SUITE measured so far, one number per row.

    With --derived, print what is derived from the primary scores of several jobs instead, with intervals
    paired over examples. Its column `quantity` says what a value is:

    \b
    mean         over seeds
    gain         minus the score of the same model with none of the training data
    difference   minus the score of another model; reference_model and reference_fraction say which

    With --spent, print one row per job that is done instead: its device and GPU, seconds, seconds with a
    model on the device, bytes of GPU memory at the peak, joules where NVML tells them, and bytes on disk; of
    a job that was stopped, in how many attempts, and the seconds of them that were lost.
    """
    if derived and spent:
        raise click.UsageError("--derived and --spent are two tables: ask for one of them")
    if form == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE")
    if form == "table" and out is not None:
        raise click.UsageError("--out goes with --format csv, json or parquet")
    store = Store()
    plan = make_plan(load_suite(suite, overrides), store)
    rows = spent_table(plan, store) if spent else (derived_rows if derived else measured_rows)(plan, store)
    if form == "table":
        shown = (rows if derived else rows.assign(artifact=rows["artifact"].str[:8])).astype(object)
        cells: Any = shown.where(rows.notna(), None).to_dict("records")
        print_rows(without_empty_columns(cells), console())
    elif form == "parquet":
        with whole_file(Path(str(out))) as staged, staged.open("wb") as stream:
            rows.to_parquet(stream, index=False)
    else:
        text = as_csv(rows) if form == "csv" else rows.to_json(orient="records", indent=1)
        if out is None:
            click.echo(text.rstrip("\n"))
        else:
            write_whole(Path(out), text)
