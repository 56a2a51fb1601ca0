"""`export` and `push`: a trained checkpoint for others."""

from pathlib import Path

import click

from microtome.jobs.cli.options import UserPath
from microtome.store.artifacts.store import Store

CARD_LINES = 40  # of the model card that a dry run shows

_checkpoint = click.option(
    "--checkpoint", required=True, help="id or name of a fine-tuned or adapted model in the store"
)
_adapter = click.option(
    "--adapter",
    is_flag=True,
    help="leave a LoRA adapter as it is, for peft; it is merged with its base if unset",
)


_licence = click.option(
    "--license",
    "licence",
    default="other",
    show_default=True,
    help="of the model, in the words of the hub's list, for example cc-by-4.0",
)


@click.command("export")
@_checkpoint
@click.option(
    "--out", required=True, type=UserPath(path_type=Path), help="folder to make; must not hold anything"
)
@_adapter
@_licence
def export_command(checkpoint: str, out: Path, adapter: bool, licence: str) -> None:
    """Write a checkpoint as a plain Hugging Face folder with a model card.

    The folder holds safetensors weights, config, tokenizer and README.md, and loads with stock transformers:
    pipeline("token-classification", model=DIR). The card says what the model was trained on, under which
    licence, how it scored, and how to load it. No path of this machine is in it.

    The folder can be carried to another machine as $MICROTOME_MODELS/<name>. Data under an agreement may not
    allow that: the card names it.
    """
    from microtome.jobs.publishing.publish import export

    store = Store()
    folder = export(store.open(checkpoint), store, out, adapter=adapter, licence=licence)
    click.echo(f"wrote {folder}")


@click.command("push")
@_checkpoint
@click.option(
    "--repo", required=True, help="model repository on the hub, namespace/name; made if it is not there"
)
@click.option(
    "--private/--public", default=True, show_default=True, help="who sees a repository that is made"
)
@click.option("--yes", is_flag=True, help="do it; without this, what would be uploaded is only shown")
@click.option(
    "--force", is_flag=True, help="push although the data is credentialed, or its terms are not known"
)
@_adapter
@_licence
def push_command(
    checkpoint: str, repo: str, private: bool, yes: bool, force: bool, adapter: bool, licence: str
) -> None:
    """Upload a checkpoint to the Hugging Face hub, as `microtome export` writes it.

    Shows the files and the model card; with --yes, uploads them. The token, which must be allowed to write,
    is taken from HF_TOKEN in the environment and from nowhere else.

    A model can hold traces of what it was trained on. One with credentialed data anywhere in its lineage is
    refused, and so is one with data whose terms microtome does not know: a task file of your own, a text
    corpus, a base model that has left the store. --force says that you have the right. Caches and predictions
    are never uploaded.
    """
    from microtome.jobs.publishing.publish import push

    store = Store()
    found = push(
        store.open(checkpoint),
        store,
        repo,
        dry_run=not yes,
        private=private,
        force=force,
        adapter=adapter,
        licence=licence,
    )
    for reason in found.withheld:
        click.echo(f"warning: {reason}", err=True)
    if found.url:
        click.echo(f"pushed {len(found.files)} files: {found.url}")
        return
    click.echo(f"would go to {found.repo} ({'private' if found.private else 'public'}):")
    for name, size in found.files.items():
        click.echo(f"  {size:>14,}  {name}")
    lines = found.card.splitlines()
    click.echo("\n".join(["", *lines[:CARD_LINES]]))
    if len(lines) > CARD_LINES:
        click.echo(f"... and {len(lines) - CARD_LINES} more lines")
    click.echo("\nnothing was uploaded; add --yes to do it")
