"""How long the command line takes to start, in CPU seconds of processes of their own, best of several."""

import os
import resource
import subprocess
import sys

REPEATS = 5
RUN = "from microtome.jobs.cli import main; main()"


def cpu_seconds(*command: str) -> float:
    """User and system time of `python COMMAND`, which other programs on the machine disturb least."""
    times = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=environment())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def over_click(*arguments: str) -> tuple[float, str]:
    """A command of microtome over `import click`, and both in CPU seconds."""
    click, command = cpu_seconds("-c", "import click"), cpu_seconds("-c", RUN, *arguments)
    return command / click, f"{command:.2f} and {click:.2f} CPU s"


def environment() -> dict[str, str]:
    """Of a process that is measured: compiled modules are kept, as they are for a user."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
