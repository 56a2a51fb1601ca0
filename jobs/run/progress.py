"""What a person sees while jobs run: a bar for the grid and a line per running job, or plain lines."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.process.logs import last_progress
from microtome.jobs.run.remaining import RemainingTime
from microtome.store.artifacts.store import Store

LINES = 12  # of running jobs


class Screen:
    """A Watcher: redraws in place on a terminal, else prints a line per finished job. `remaining` says how
    long the run will still take, where that is wanted."""

    def __init__(
        self, console: Console, store: Store, total: int, remaining: RemainingTime | None = None
    ) -> None:
        self._console = console
        self._store = store
        self._total = total
        self._remaining = remaining
        self._count = 0
        self._submitted: dict[str, tuple[AnyJob, float]] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._grid = self._bar.add_task("jobs", total=total, left="")
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def submitted(self, job: AnyJob) -> None:
        self._submitted[job.id] = job, time.time()

    def finished(self, job: AnyJob, error: str | None, seconds: float) -> None:
        self._submitted.pop(job.id, None)
        self._count += 1
        left = ""
        if self._remaining is not None:
            if error:
                self._remaining.failed(job)
            else:
                self._remaining.ended(job, seconds)
            left = str(self._remaining)
        self._bar.update(self._grid, advance=1, left=left)
        last = last_progress(self._store.log_path(job.request))
        said = [("failed", "red"), f" {error}"] if error else [(last or "", "dim")]
        count = f"[{self._count:>{len(str(self._total))}}/{self._total}]"
        shown = [(f"  {left}", "dim")] if left and not self._console.is_terminal else []
        line = Text.assemble(f"{count} {job.kind:<9} {job.slug}  {seconds:.1f} s  ", *said, *shown)
        self._console.print(line, soft_wrap=True)

    def notice(self, text: str) -> None:
        self._console.print(Text(text, "yellow"), soft_wrap=True)

    def _draw(self) -> Group:
        lines = []
        for job, log in self._running()[:LINES]:
            lines.append(Text(f"  {job.name}  {last_progress(log)}", overflow="ellipsis", no_wrap=True))
        waiting = len(self._submitted) - len(lines)
        if waiting > 0:
            lines.append(Text(f"  {waiting} more are waiting for a free GPU or CPU"))
        return Group(*lines, self._bar)

    def _running(self) -> list[tuple[AnyJob, Path]]:
        """Submitted jobs that have begun to write their log."""
        found = []
        for job, since in list(self._submitted.values()):
            log = self._store.log_path(job.request)
            if log.is_file() and log.stat().st_mtime >= since - 1:
                found.append((job, log))
        return found
