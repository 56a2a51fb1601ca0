"""Running jobs from the command line, one by hand or a plan, and showing what came out."""

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.run.executor import LocalRunner, execute
from microtome.jobs.run.progress import Screen
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import InputError, MicrotomeError
from microtome.store.results import read_rows

MANY_ROWS = 1000


def run_by_hand(job: AnyJob, store: Store, screen: Console) -> Artifact:
    """Run one job in this process, unless it is done; MicrotomeError with the job's reason if it fails."""
    found = store.done(job.request)
    if found is not None:
        screen.print(f"already done: {found.name}")
        return found
    if job.refused:
        raise InputError(job.refused)
    store.check_writable()
    with Screen(screen, store, total=1) as watcher:
        outcome = execute([job], set(job.needs), {}, LocalRunner(store.reference), watcher)
    if not outcome.ok:
        reason = (outcome.failed + outcome.skipped)[0][1]
        raise MicrotomeError(f"{reason} (log: {store.log_path(job.request)})")
    artifact = store.find(job.request)
    assert artifact is not None
    return artifact


def show(artifact: Artifact, screen: Console) -> None:
    """The readable name, the id, and the rows if there are few columns to show."""
    rows = read_rows(artifact)
    if rows:
        frame = pd.DataFrame(rows).drop(columns=["kind", "artifact"])
        screen.print(as_table(frame))
    screen.print(f"{artifact.name}\nid {artifact.id}", soft_wrap=True)


def print_rows(frame: pd.DataFrame, screen: Console) -> None:
    """Print a table; one of very many rows as plain columns, since rich takes a millisecond for each."""
    if len(frame) <= MANY_ROWS:
        screen.print(as_table(frame))
        return
    columns = []
    for column in frame.columns:
        cells = [str(column), *map(_cell, frame[column])]
        width = max(map(len, cells))
        numeric = pd.api.types.is_numeric_dtype(frame[column])
        columns.append([cell.rjust(width) if numeric else cell.ljust(width) for cell in cells])
    lines = ("  ".join(cells).rstrip() + "\n" for cells in zip(*columns, strict=True))
    screen.file.write("".join(lines))


def as_table(frame: pd.DataFrame) -> Table:
    """A rich table; numbers to the right, missing cells empty."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[column])
        table.add_column(str(column), justify="right" if numeric else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:g}" if value.is_integer() else f"{value:.4f}"
    return str(value)
