"""`task init` and `suite init`: files to start from."""

from pathlib import Path

import click

from microtome.jobs.cli.options import UserPath
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.errors import InputError
from microtome.store.files.outputs import write_whole


@click.command("init")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--type", "task_type", type=click.Choice(list(TASK_TYPES)), help="where the files cannot say it"
)
@click.option(
    "--column", "columns", multiple=True, metavar="ROLE=NAME", help="such as label=severity; may be repeated"
)
@click.option("--name", help="of the task; that of --out, or of the folder of the files, if it is not given")
@click.option("--out", type=UserPath(dir_okay=False), help="file to write; <name>.yaml if it is not given")
def task_init(
    files: tuple[str, ...], task_type: str | None, columns: tuple[str, ...], name: str | None, out: str | None
) -> None:
    """Look at the FILES of a corpus and write a task file for them.

    Files are told apart as train, dev and test by their names, or by what stands before them: train=FILE.
    A folder may hold these, or BRAT, BioC or XML files. A dataset on the hub is named
    hub:OWNER/NAME, with /SUBSET behind it if it has several and @REVISION for another than the present one.
    What the files do not say is a question in the task file.
    """
    from microtome.jobs.schemas import schema_file
    from microtome.jobs.tasks.drafting.draft import as_yaml, draft_task
    from microtome.jobs.tasks.drafting.hub_files import PREFIX, hub_files
    from microtome.jobs.tasks.drafting.splits import splits_of

    of_hub = [file for file in files if file.startswith(PREFIX)]
    if of_hub and len(files) > 1:
        raise InputError(f"{of_hub[0]} is a dataset with all its splits; leave the other FILES out")
    hub = hub_files(of_hub[0]) if of_hub else None
    splits = splits_of(files) if hub is None else hub.paths
    usual = splits["train"].absolute().parent.name if hub is None else hub.repo.rpartition("/")[2]
    name = name or (Path(out).stem if out else usual.lower() or "task")
    target = Path(out or f"{name}.yaml")
    if target.exists():
        raise InputError(f"{target} is there already; give another name with --out")
    draft = draft_task(
        splits,
        name=name,
        folder=target.absolute().parent,
        type=task_type,
        columns=_roles(columns),
        hub=hub,
    )
    write_whole(target, as_yaml(draft, str(schema_file("task"))))
    values = draft.values
    click.echo(
        f"{values['type']}, {values['data']['format']}, labels: {', '.join(map(str, values['labels']))}"
    )
    for split, path in splits.items():
        click.echo(f"  {split}: {path}")
    for question in draft.questions:
        click.echo(f"  {question}")
    click.echo(f"wrote {target}; next: microtome task check {target}")


@click.command("init")
@click.option("--task", "tasks", multiple=True, required=True, help="name or task file; may be repeated")
@click.option(
    "--model", "models", multiple=True, required=True, help="name, hub id or folder; may be repeated"
)
@click.option("--name", help="of the suite; that of --out, or task and model, if it is not given")
@click.option("--out", type=UserPath(dir_okay=False), help="file to write; <name>.yaml if it is not given")
@click.pass_context
def suite_init(
    ctx: click.Context, tasks: tuple[str, ...], models: tuple[str, ...], name: str | None, out: str | None
) -> None:
    """Write a small suite that runs as it is, and say what it would take, as `suite plan` does.

    Each model is fine-tuned on all training data of each task, probed before and after, and its attentions
    and layers are compared.
    """
    from microtome.jobs.cli.suites import suite_plan
    from microtome.jobs.schemas import schema_file
    from microtome.jobs.suite.draft import suite_text
    from microtome.jobs.tasks import load_task

    usual = "-".join([load_task(tasks[0]).name, Path(models[0]).name, "suite"])
    name = name or (Path(out).stem if out else usual)
    target = Path(out or f"{name}.yaml")
    if target.exists():
        raise InputError(f"{target} is there already; give another name with --out")
    folder, schema = target.absolute().parent, str(schema_file("suite"))
    write_whole(target, suite_text(name, tasks, models, folder, schema))
    ctx.invoke(suite_plan, suite=str(target), overrides=(), form="table")
    click.echo(f"\nwrote {target}; next: microtome suite run {target}, then: microtome report {target}")


def _roles(columns: tuple[str, ...]) -> dict[str, str]:
    for column in columns:
        if "=" not in column:
            raise InputError(f"--column {column}: expected ROLE=NAME, such as label=severity")
    return dict(column.split("=", 1) for column in columns)
