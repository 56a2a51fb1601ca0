"""`schema`: what task and suite files may hold."""

import click


@click.command("schema")
@click.argument("what", type=click.Choice(["task", "suite"]))
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "page"]),
    default="json",
    show_default=True,
    help="a JSON Schema, or every key with its default and meaning as Markdown",
)
def schema_command(what: str, form: str) -> None:
    """Print what a task or suite file may hold.

    An editor with a YAML language server completes and checks a file whose first line names the schema:
    # yaml-language-server: $schema=PATH
    """
    from microtome.jobs.schemas import page_text, schema_text

    click.echo(schema_text(what) if form == "json" else page_text(what), nl=False)
