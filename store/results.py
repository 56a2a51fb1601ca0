"""Result rows: one number per row, in the same columns for every kind of job."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from microtome.store.artifacts.store import Artifact
from microtome.store.errors import StoreError

ROWS = "rows.jsonl"

COLUMNS = {
    "suite": "string",
    "kind": "string",
    "task": "string",
    "model": "string",
    "fraction": "Float64",  # per cent of the training data
    "seed": "Int64",
    "split": "string",
    "stage": "string",  # before or after, where a job measures twice; across, between the two
    "epoch": "Float64",  # of adaptation, where a score is taken on the way
    "layer": "Int64",  # what the cache reader takes: hidden 0..L, attention 0..L-1
    "other_layer": "Int64",  # that `layer` is compared with
    "head": "Int64",
    "probe": "string",
    "label": "string",  # of a row about one class
    "metric": "string",
    "name": "string",  # of the metric, in full
    "value": "Float64",
    "low": "Float64",  # a 95 % bootstrap interval of the value, where it has one
    "high": "Float64",
    "interval": "string",  # how it was found: percentile, BCa or Fisher z
    "p": "Float64",  # of a gain or difference that is 0, after Holm's correction over those of its task
    "effect": "Float64",  # the same over the standard deviation between training runs
    "seeds": "Int64",  # training runs that a mean, gain or difference is over
    "n": "Int64",  # how many items the value is over
    "published": "Float64",  # a score of the same metric that others reported, as far as there is one
    "published_model": "string",  # the model that has the published score
    "source": "string",  # of the published score
    "artifact": "string",
}
FORMULA = ("=", "+", "-", "@", "\t", "\n")  # what a cell begins with that a spreadsheet evaluates
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


def as_csv(frame: pd.DataFrame, **options: Any) -> str:
    """A frame as CSV that is safe to open in a spreadsheet: a text or a head that it would run as a formula
    begins with an apostrophe. Numbers stay as they are. `options` are those of DataFrame.to_csv."""
    safe = frame.rename(columns=_no_formula)
    for position, kind in enumerate(safe.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            safe.isetitem(position, [_no_formula(cell) for cell in safe.iloc[:, position]])
    return safe.to_csv(index=False, lineterminator="\n", **options)


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r\n", "\n").replace("\r", "\n")  # left bare, \r begins a new row
    return f"'{text}" if text.startswith(FORMULA) else text


def tidy(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with exactly the columns of `COLUMNS`, in that order, missing cells as NA."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return frame.astype(COLUMNS)
