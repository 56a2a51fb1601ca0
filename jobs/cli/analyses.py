"""`probe`, `attention`, `similarity`: one analysis by hand on caches that are there. No model is loaded."""

from pathlib import Path
from typing import Any

import click

from microtome.analysis.attention.compare import AttentionConfig
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.similarity_settings import SimilarityConfig
from microtome.jobs.cli.options import console, given, options_of
from microtome.jobs.cli.running import run_by_hand, show
from microtome.jobs.kinds.attention import attention_job
from microtome.jobs.kinds.caches import CachePair
from microtome.jobs.kinds.probe import ProbeSources, probe_job
from microtome.jobs.kinds.similarity import similarity_job
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.cache.description import is_cache
from microtome.store.errors import InputError


@click.command("probe")
@click.option("--train", required=True, help="cache the probe is fitted on: id, name or folder")
@click.option("--test", required=True, help="cache it is scored on: id, name or folder")
@click.option("--dev", help="cache the regularisation is chosen on; a fifth of --train if unset")
@options_of(ProbeConfig)
def probe_command(train: str, test: str, dev: str | None, **options: Any) -> None:
    """Ask every layer of a cache what it knows of the task's labels.

    \b
    microtome extract --checkpoint bert --task sick --split train --keep hidden --examples 1000
    microtome extract --checkpoint bert --task sick --split test --keep hidden --examples 500
    microtome probe --train NAME-OF-THE-FIRST --test NAME-OF-THE-SECOND
    microtome probe --train NAME-OF-THE-FIRST --test NAME-OF-THE-SECOND --probe svm --pair difference-product

    WHAT IS ASKED. The units of tagging tasks are words, with B- and I- merged into the type; of other tasks
    texts, pairs of texts, or pairs of mentions. Their features are pooled hidden states of one layer,
    standardised by the training cache.

    WHAT IS MEASURED. The scores that suit the task, on --test, with 95 % bootstrap intervals over examples.
    Regularisation is chosen on --dev, never on --test.

    \b
    selectivity   accuracy minus that on a control task, where every word type has one random label. A probe
                  that is good at both has memorised words (Hewitt & Liang 2019). For texts the control is a
                  random label per example, and is called so.
    codelength    bits to send the training labels to one who has the features; compression is the code
                  by the labels' frequencies alone over it: 1 says nothing was gained from the features,
                  however unbalanced the labels are. Beside it stand that of the control task, and the
                  compression against the uniform code, as published (Voita & Titov 2020).
    majority, bag-of-words   what needs no model. Layer 0, the embeddings, knows words but no context.
    """
    store = Store()
    first, second = named_cache(train, store), named_cache(test, store)
    third = named_cache(dev, store) if dev else None
    config = given(ProbeConfig, options)
    slug = f"{_stem(first)}.{config.probe}"
    last = third.id if third else None
    folders = ProbeSources(first.path, second.path, third.path if third else None)
    job = probe_job(slug, first.id, second.id, last, config, dict(second.labels), folders)
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
    folders, labels = CachePair(first.path, second.path), dict(second.labels)
    job = attention_job(_stem(second), first.id, second.id, config, labels, folders)
    show(run_by_hand(job, store, console()), console())


@click.command("similarity")
@click.option("--before", required=True, help="cache of the one checkpoint: id, name or folder")
@click.option("--after", help="cache of the other, on the same examples; layers of --before alone if unset")
@options_of(SimilarityConfig)
def similarity_command(before: str, after: str | None, **options: Any) -> None:
    """Compare hidden states layer with layer, within each of two checkpoints and across them.

    linear_cka is debiased (1: equal up to rotation and scale, 0: unrelated); rsa correlates the
    dissimilarities between tokens; rbf_cka sees neighbourhoods, where linear_cka sees large distances.
    """
    store = Store()
    first = named_cache(before, store)
    second = named_cache(after, store) if after else first
    config = given(SimilarityConfig, options)
    folders, labels = CachePair(first.path, second.path), dict(second.labels)
    job = similarity_job(_stem(second), first.id, second.id, config, labels, folders)
    show(run_by_hand(job, store, console()), console())


def named_cache(reference: str, store: Store) -> Artifact:
    """The activation cache of this id or name in the store, or in this folder, wherever it is; InputError
    if it is something else."""
    folder = Path(reference).expanduser().absolute()
    artifact = Store(folder.parent.parent).open(folder) if folder.is_dir() else store.open(reference)
    if not is_cache(artifact):
        raise InputError(f"{artifact.name} is no activation cache. See: microtome cache ls")
    return artifact


def _stem(artifact: Artifact) -> str:
    return artifact.path.name.rpartition("-")[0] or artifact.path.name
