"""What a notebook calls: every function takes ids, names, folders or opened things and returns a DataFrame.

Nothing is written to the store. `import microtome` has all of these names.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from microtome.analysis import similarity
from microtome.analysis.attention import compare
from microtome.analysis.attention.compare import AttentionConfig
from microtome.analysis.metrics import full_name
from microtome.analysis.probing import run
from microtome.analysis.probing.run import ProbeConfig
from microtome.analysis.similarity import SimilarityConfig
from microtome.jobs import predict as prediction
from microtome.jobs.kinds.checkpoints import FinetunedCheckpoint
from microtome.jobs.models.source import CHECKPOINT
from microtome.jobs.suite.plan import Plan, make_plan
from microtome.jobs.suite.results import derived_rows, measured_rows
from microtome.jobs.suite.suite import Suite, load_suite
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.cache.listing import ORIGIN
from microtome.store.cache.reader import ActivationCache, open_cache
from microtome.store.config import Config
from microtome.store.errors import InputError
from microtome.store.frames import tidy
from microtome.store.results import COLUMNS

C = TypeVar("C", bound=Config)
CacheLike = ActivationCache | Artifact | str | Path
SCORE = ("metric", "name", "value", "low", "high", "n")


def results(
    suite: str | Path | Suite, store: Store | str | Path | None = None, overrides: Iterable[str] = ()
) -> pd.DataFrame:
    """What the jobs of a suite measured so far, one number per row.

    `suite` is a name or a file, `store` a folder if it is not MICROTOME_STORE, and `overrides` change the
    suite as --set does ("recipe.epochs=1"). No row is derived from others: see `derived_results`.
    """
    plan, where = _plan(suite, store, overrides)
    return measured_rows(plan, where)


def derived_results(
    suite: str | Path | Suite, store: Store | str | Path | None = None, overrides: Iterable[str] = ()
) -> pd.DataFrame:
    """What follows from the primary scores of several jobs, with 95 % intervals: see the column `quantity`.

    mean: over seeds. gain: minus the score of the same model without training data. difference: minus the
    score of another model. `reference_model` and `reference_fraction` name what is subtracted.
    """
    plan, where = _plan(suite, store, overrides)
    return derived_rows(plan, where)


def probe(
    train: CacheLike,
    test: CacheLike,
    dev: CacheLike | None = None,
    config: ProbeConfig | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Fit a probe on every layer of `train` and score it on `test`: one row per layer and metric.

    The regularisation is chosen on `dev`, or on a fifth of `train`. `settings` are the fields of ProbeConfig,
    and go over those of `config`. Rows of the baselines (probe "majority" and "bag-of-words") have no layer.
    """
    chosen = _config(ProbeConfig, config, settings)
    tested = _cache(test)
    probed = run.probe(chosen, _cache(train), tested, None if dev is None else _cache(dev))
    return _frame(probed.rows, tested, ("probe", "layer"))


def compare_attention(
    before: CacheLike, after: CacheLike, config: AttentionConfig | None = None, **settings: Any
) -> pd.DataFrame:
    """How every head attends in two checkpoints, on the same tokens: one row per layer, head and metric.

    Rows of change have no stage, and a name that says so; "before" and "after" are what attention is like in
    each.
    `settings` are the fields of AttentionConfig, and go over those of `config`.
    """
    chosen = _config(AttentionConfig, config, settings)
    changed = _cache(after)
    rows = compare.compare_attention(chosen, _cache(before), changed)
    return _frame(rows, changed, ("stage", "layer", "head", "basis"))


def compare_similarity(
    before: CacheLike,
    after: CacheLike | None = None,
    config: SimilarityConfig | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """How alike two layers represent the same tokens: one row per pair of layers and measure.

    Stage "before" compares the layers of `before` with one another, "after" those of `after`, and "across"
    `layer` of `before` with `other_layer` of `after`. `settings` are the fields of SimilarityConfig, and go
    over those of `config`.
    """
    chosen = _config(SimilarityConfig, config, settings)
    first = _cache(before)
    second = first if after is None else _cache(after)
    rows = similarity.compare_similarity(chosen, first, second)
    return _frame(rows, second, ("stage", "layer", "other_layer"))


def predict(
    checkpoint: Artifact | str | Path,
    texts: Sequence[str | Sequence[str]],
    store: Store | str | Path | None = None,
) -> pd.DataFrame:
    """Ask a fine-tuned model about texts, or pairs of texts where its task is about two.

    One row per text: `text` (or `text_a`, `text_b`), `label`, and the probability of each class in a column
    "p(<class>)". Of a tagging task one row per entity: `text` is the place of the text in `texts` from 0,
    `type`, `start` and `end` characters, and the `entity` itself.
    """
    artifact = checkpoint if isinstance(checkpoint, Artifact) else _store(store).open(checkpoint)
    if artifact.kind != "finetune":
        raise InputError(f"{artifact.name} is no fine-tuned model. See: microtome cache ls --kind finetune")
    finetuned = FinetunedCheckpoint.of(artifact)
    kind = finetuned.kind
    examples, plain = prediction.given_texts(texts, kind, finetuned.labels)
    rows = prediction.predict(artifact, artifact.contents.path(CHECKPOINT), examples, plain)
    return _entities(rows) if kind.head == "token" else _labels(rows, texts, kind)


def _entities(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    flat = [
        {"text": int(row["id"]), **{k: e[k] for k in ("type", "start", "end")}, "entity": e["text"]}
        for row in rows
        for e in row["entities"]
    ]
    return pd.DataFrame(flat, columns=["text", "type", "start", "end", "entity"])


def _labels(
    rows: Iterable[Mapping[str, Any]], texts: Sequence[str | Sequence[str]], kind: TaskType
) -> pd.DataFrame:
    names = ("text",) if kind.texts == 1 else ("text_a", "text_b")
    flat = []
    for row, given in zip(rows, texts, strict=True):
        parts = [given] if isinstance(given, str) else given
        shares = {f"p({name})": share for name, share in row.get("probabilities", {}).items()}
        flat.append({**dict(zip(names, parts, strict=True)), "label": row["label"], **shares})
    return pd.DataFrame(flat)


def _frame(rows: Iterable[Mapping[str, Any]], cache: ActivationCache, own: Sequence[str]) -> pd.DataFrame:
    """Rows of an analysis beside what the cache is of, with the columns that an analysis of this kind has."""
    about = {name: getattr(cache, name) for name in ORIGIN}
    named = [{**about, "name": full_name(row["metric"]), **row} for row in rows]
    return tidy(named, {name: COLUMNS[name] for name in (*ORIGIN, *own, *SCORE)})


def _config(kind: type[C], config: C | None, settings: Mapping[str, Any]) -> C:
    """The settings over those of a config; InputError for one that is not known or has no effect."""
    given = {} if config is None else config.model_dump(exclude_unset=True)
    return kind.parse({**given, **settings}, where="the settings")


def _cache(cache: CacheLike) -> ActivationCache:
    if isinstance(cache, ActivationCache):
        return cache
    return ActivationCache(cache.path) if isinstance(cache, Artifact) else open_cache(cache)


def _plan(
    suite: str | Path | Suite, store: Store | str | Path | None, overrides: Iterable[str]
) -> tuple[Plan, Store]:
    changes = tuple(overrides)
    if isinstance(suite, Suite) and changes:
        raise InputError("overrides change a suite as it is read: give its name or file")
    where = _store(store)
    return make_plan(suite if isinstance(suite, Suite) else load_suite(str(suite), changes), where), where


def _store(store: Store | str | Path | None) -> Store:
    return store if isinstance(store, Store) else Store(store)
