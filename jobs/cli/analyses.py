"""`probe` and `attention`: one analysis by hand on caches that are there. No model is loaded."""

from typing import Any

import click

from analysis.attention import AttentionConfig
from analysis.probing import ProbeConfig
from jobs.analyse import attention_job, probe_job
from jobs.cli.options import console, given, options_of
from jobs.cli.running import run_by_hand, show
from store.artifacts import Artifact, Store
from store.errors import InputError


@click.command("probe")
@click.option("--train", required=True, help="cache the probe is fitted on: id, name or folder")
@click.option("--test", required=True, help="cache it is scored on")
@options_of(ProbeConfig)
def probe_command(train: str, test: str, **options: Any) -> None:
    """Ask every layer of a cache what it knows of the task's labels.

    \b
    microtome extract --checkpoint bert --task sick --split train --keep hidden --examples 1000
    microtome extract --checkpoint bert --task sick --split test --keep hidden --examples 500
    microtome probe --train NAME-OF-THE-FIRST --test NAME-OF-THE-SECOND

    Words are the units of tagging tasks, B- and I- merged; the two segment means are the features of
    pairs. Standardisation is fitted on the training cache.
    """
    store = Store()
    first, second = named_cache(train, store), named_cache(test, store)
    config = given(ProbeConfig, options)
    slug = f"{_stem(first)}.{config.probe}"
    job = probe_job(slug, first.id, second.id, config, second.manifest["labels"])
    show(run_by_hand(job, store, console()), console())


@click.command("attention")
@click.option("--before", required=True, help="cache of the one checkpoint: id, name or folder")
@click.option("--after", required=True, help="cache of the other, on the same examples")
@options_of(AttentionConfig)
def attention_command(before: str, after: str, **options: Any) -> None:
    """Compare the attentions of two checkpoints, head by head, on the same tokens."""
    store = Store()
    first, second = named_cache(before, store), named_cache(after, store)
    config = given(AttentionConfig, options)
    job = attention_job(_stem(second), first.id, second.id, config, second.manifest["labels"])
    show(run_by_hand(job, store, console()), console())


def named_cache(reference: str, store: Store) -> Artifact:
    """The activation cache of this id, name or folder; InputError if it is something else."""
    artifact = store.open(reference)
    if artifact.kind != "extract":
        raise InputError(f"{artifact.name} is no activation cache. See: microtome cache ls")
    return artifact


def _stem(artifact: Artifact) -> str:
    return artifact.path.name.rpartition("-")[0]
