"""Running jobs from the command line, one by hand or a plan, and showing what came out."""

from rich.console import Console

from microtome.jobs.cli.tables import as_table, columns_of
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.run.executor import execute
from microtome.jobs.run.local_runner import LocalRunner
from microtome.jobs.run.progress import Screen
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import InputError, MicrotomeError
from microtome.store.results import read_rows


def run_by_hand(job: AnyJob, store: Store, screen: Console) -> Artifact:
    """Run one job in this process, unless it is done; MicrotomeError with the job's reason if it fails."""
    done = store.done(job.request)
    if done is not None:
        screen.print(f"already done: {done.name}")
        return done
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
        columns = [column for column in columns_of(rows) if column not in ("kind", "artifact")]
        screen.print(as_table(rows, columns))
    screen.print(f"{artifact.name}\nid {artifact.id}", soft_wrap=True)
