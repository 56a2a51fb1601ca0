"""Result rows: one number per row. What was measured and what is derived from that are two tables."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from microtome.store.artifacts.store import Artifact
from microtome.store.errors import StoreError

ROWS = "rows.jsonl"

# Of what jobs measured: the same columns for every kind of job.
COLUMNS = {
    "suite": "string",
    "kind": "string",
    "task": "string",
    "model": "string",
    "fraction": "Float64",  # per cent of the training data
    "seed": "Int64",
    "split": "string",  # or WITHOUT_DUPLICATES
    # before, during or after, where a job measures more than once; across, between two; between seeds, of two
    # training runs of the same
    "stage": "string",
    "epoch": "Float64",  # of adaptation, where a score is taken on the way
    "layer": "Int64",  # what the cache reader takes: hidden 0..L, attention 0..L-1
    "other_layer": "Int64",  # that `layer` is compared with
    "head": "Int64",
    "probe": "string",
    "label": "string",  # of a row about one class
    "predicted_label": "string",  # of a row that counts how often `label` is predicted as this
    "metric": "string",
    "name": "string",  # of the metric, in full
    "basis": "string",  # what an attention is measured from, if not whole maps: top 64, 16 rows, patterns
    "value": "Float64",
    "low": "Float64",  # a 95 % bootstrap interval of the value, where it has one
    "high": "Float64",
    "interval": "string",  # how it was found: percentile, BCa or Fisher z
    "n": "Int64",  # how many items the value is over
    "published": "Float64",  # a score of the same metric that others reported, as far as there is one
    "published_model": "string",  # the model that has the published score
    "source": "string",  # of the published score
    "artifact": "string",
}
# Of what is derived from the measured scores of several jobs, never a score of one job.
DERIVED_COLUMNS = {
    "suite": "string",
    "kind": "string",  # of the jobs whose scores these are
    "task": "string",
    "model": "string",
    "fraction": "Float64",
    "split": "string",  # or WITHOUT_DUPLICATES
    "probe": "string",
    "layer": "Int64",
    "quantity": "string",  # mean over seeds; gain, difference, from_best_layer or best_layer_gain: minus the
    # score of the reference
    "reference_model": "string",  # whose score is subtracted
    "reference_fraction": "Float64",
    "reference_layer": "Int64",  # where another layer's score is subtracted
    "metric": "string",  # of the scores
    "name": "string",
    "value": "Float64",
    "low": "Float64",  # a 95 % bootstrap interval of the value, over examples and over several seeds
    "high": "Float64",
    "interval": "string",  # how it was found: percentile, BCa or Fisher z
    "p": "Float64",  # of a gain or difference that is 0, after Holm's correction over those of its task
    "effect": "Float64",  # the same over the standard deviation between training runs
    "n": "Int64",
    "seeds": "Int64",  # training runs that it is over
}
# Of the test texts those that no training text equals word for word.
WITHOUT_DUPLICATES = "test without duplicates"
LABELS = ("task", "model", "fraction", "seed")


def write_rows(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows.jsonl` into an artifact under construction. Every row needs a metric and a value.

    Raises StoreError for a number that is not finite: what is not defined has no row.
    """
    lines = []
    for row in rows:
        strange = set(row) - set(COLUMNS)
        if strange or "metric" not in row or "value" not in row:
            raise ValueError(f"not a result row: {dict(row)}")
        _refuse_non_finite(row)
        lines.append(json.dumps(row, ensure_ascii=False, allow_nan=False))
    (folder / ROWS).write_text("".join(f"{line}\n" for line in lines), "utf-8")


def read_rows(artifact: Artifact) -> list[dict[str, Any]]:
    """The rows of one artifact with its kind and id; an artifact that measures nothing has none."""
    if not artifact.contents.has(ROWS):
        return []
    lines = artifact.contents.read(ROWS).decode("utf-8").split("\n")
    known = {"kind": artifact.kind, "artifact": artifact.id}
    return [
        {**known, **_parsed(line, f"{artifact.name}: {ROWS}:{number}")}
        for number, line in enumerate(lines, start=1)
        if line
    ]


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        return json.loads(line, parse_float=_finite, parse_constant=_finite)
    except ValueError as error:
        raise StoreError(
            f"{where}: not a row ({error}); remove the artifact (microtome cache rm) and run its job again"
        ) from None


def _refuse_non_finite(row: Mapping[str, Any]) -> None:
    for column, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            about = {k: v for k, v in row.items() if k not in ("metric", column)}
            where = ", ".join(f"{k} {v}" for k, v in about.items())
            raise StoreError(f"the {column} of {row['metric']} is {value}, which is no result ({where})")


def _finite(text: str) -> float:
    """What JSON says is a number, NaN, Infinity and 1e999 among it."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no result")
    return value
