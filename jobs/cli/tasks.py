"""`task ls` and `task show`: what can be asked of a model, and where its data are."""

import click
from rich.text import Text

from microtome.jobs.cli.options import console
from microtome.jobs.cli.tables import as_table
from microtome.jobs.tasks import Task, load_task, task_names
from microtome.jobs.tasks.source import find_local


@click.command("ls")
def task_ls() -> None:
    """List the tasks, and where their data was found."""
    rows = []
    for name in task_names():
        task = load_task(name)
        rows.append(
            {
                "task": name,
                "type": task.type,
                "labels": len(task.labels),
                "credentialed": "yes" if task.credentialed else "",
                "data": _origin(task),
                "title": task.title,
            }
        )
    console().print(as_table(rows))


@click.command("show")
@click.argument("name")
def task_show(name: str) -> None:
    """Recipe, licence, published scores, and how to obtain the data of a task NAME or file."""
    task = load_task(name)
    out = console()
    out.print(Text.assemble((task.name, "bold"), f"  {task.title}\n"), soft_wrap=True)
    facts = {
        "type": task.type,
        "labels": ", ".join(task.labels),
        "licence": task.licence + (" (credentialed)" if task.credentialed else ""),
        "obtain": task.obtain,
        "data": _origin(task),
        "citation": task.citation,
        **({"remark": task.remark} if task.remark else {}),
        **{f"recipe.{key}": str(value) for key, value in task.recipe.model_dump().items()},
    }
    out.print(as_table([{"": fact, " ": value} for fact, value in facts.items()]))
    if task.published:
        out.print("\npublished")
        out.print(as_table([p.model_dump() for p in task.published]))


def _origin(task: Task) -> str:
    """Where a task's data is, without asking the hub."""
    data, _ = find_local(task)
    if data is not None:
        return data.origin
    return f"hub, {task.hub.repo}" if task.hub else "not here"
