"""Tidy result rows as frames of means: over seeds, with their intervals, long or wide."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from microtome.analysis.metrics import short_name

TEXTS = (
    "kind",
    "task",
    "model",
    "split",
    "stage",
    "probe",
    "label",
    "predicted_label",
    "metric",
    "basis",
    "published_model",
    "source",
    "artifact",
)
NUMBERS = (
    *("fraction", "seed", "epoch", "layer", "other_layer", "head", "value", "low", "high", "n"),
    "published",
)
DERIVED_TEXTS = ("kind", "task", "model", "split", "probe", "quantity", "reference_model", "metric")
DERIVED_NUMBERS = (
    *("fraction", "layer", "reference_fraction", "reference_layer", "value", "low", "high"),
    *("p", "effect", "n", "seeds"),
)
ITEM = ["task", "model"]
ONE_RUN = "one training run: its luck is not in this interval"
MOST_P = 0.05  # of a difference that is shown


def plain(rows: pd.DataFrame, texts: Sequence[str] = TEXTS, numbers: Sequence[str] = NUMBERS) -> pd.DataFrame:
    """Rows with these columns as text (missing = "") or float64 (missing = NaN).

    Infinite values count as missing, and rows without a value are dropped: neither can be drawn.
    """
    frame = pd.DataFrame(index=pd.RangeIndex(len(rows)))
    for name in texts:
        column = rows[name] if name in rows else pd.Series([None] * len(rows), dtype=object)
        present = column.notna().to_numpy()
        cells = column.to_numpy(dtype=object)
        texts_of_column = [
            str(cell) if is_present else "" for cell, is_present in zip(cells, present, strict=True)
        ]
        # Not the text type of pandas: on columns of this size it takes several times as long.
        frame[name] = pd.Series(texts_of_column, index=frame.index, dtype=object)
    for name in numbers:
        column = rows[name] if name in rows else pd.Series([None] * len(rows), dtype=object)
        frame[name] = pd.to_numeric(column, errors="coerce").astype("float64").to_numpy()
    return frame.loc[np.isfinite(frame["value"])].reset_index(drop=True)


def plain_derived(rows: pd.DataFrame) -> pd.DataFrame:
    """`plain` for what is derived from several jobs."""
    return plain(rows, DERIVED_TEXTS, DERIVED_NUMBERS)


def in_order(column: pd.Series) -> list[str]:
    """Distinct non-empty texts in the order of their first appearance."""
    return [text for text in dict.fromkeys(column) if text]


def numbers(column: pd.Series) -> list[float]:
    """Distinct present numbers, ascending."""
    return sorted({float(number) for number in column.dropna()})


def metric_name(metric: str) -> str:
    """A metric as it is written in running text."""
    return short_name(metric)


def percent(fraction: float) -> str:
    """A fraction of the training data, given in per cent, as text."""
    return f"{fraction:g} %"


def first_metric(rows: pd.DataFrame, preferred: Sequence[str]) -> str:
    """The first of `preferred` that the rows have; failing that, the first they have at all."""
    present = in_order(rows["metric"])
    return next((metric for metric in preferred if metric in present), present[0])


def first_split(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the split that a result is quoted on: the test or held-out part, if any."""
    present = list(dict.fromkeys(rows["split"]))
    split = next((name for name in ("test", "heldout") if name in present), present[0])
    return rows[rows["split"] == split]


def over_seeds(rows: pd.DataFrame, keys: Sequence[str], means: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per `keys`: mean, standard deviation over seeds, interval, number of seeds and of items n.

    The interval (low, high) is that of `means`, derived rows of the quantity "mean" over seeds; of a single
    seed its own; else none. Texts are in the order of their first appearance, numbers ascending, the first
    key slowest.
    """
    keys = list(keys)
    frame = rows.groupby(keys, sort=False, dropna=False).agg(
        mean=("value", "mean"),
        deviation=("value", "std"),
        low=("low", "first"),
        high=("high", "first"),
        seeds=("seed", "nunique"),
        runs=("value", "size"),
        n=("n", "max"),
    )
    frame = frame.reset_index()
    frame["seeds"] = frame["seeds"].clip(lower=1)
    frame.loc[frame["runs"] > 1, ["low", "high"]] = np.nan
    frame = frame.drop(columns="runs")
    if means is not None and not means.empty:
        frame = _with_means(frame, means, keys)
    return frame.sort_values(keys, key=_rank, ignore_index=True)


def _with_means(frame: pd.DataFrame, means: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The frame with the mean and interval that were derived over seeds, where they were."""
    names = {"value": "mean", "low": "low", "high": "high"}
    columns = {name: f"derived {name}" for name in names}
    merged = frame.merge(
        means.drop_duplicates(keys)[[*keys, *names]].rename(columns=columns), on=keys, how="left"
    )
    has_mean = merged["derived value"].notna()
    for name, column in names.items():
        merged.loc[has_mean, column] = merged.loc[has_mean, f"derived {name}"]
    return merged[list(frame)]


def shown(derived: pd.DataFrame) -> pd.Series:
    """Which differences are more than chance: several training runs, and a p value (after Holm's correction)
    of at most MOST_P; by the interval where there is no p value."""
    away = (derived["low"] > 0) | (derived["high"] < 0)
    return (derived["seeds"] != 1) & away & ~(derived["p"] > MOST_P)


def spread(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """How far each mean may be off: its interval, else one standard deviation over seeds, else NaN."""
    low = frame["low"].fillna(frame["mean"] - frame["deviation"])
    high = frame["high"].fillna(frame["mean"] + frame["deviation"])
    return low.to_numpy(np.float64), high.to_numpy(np.float64)


def _rank(column: pd.Series) -> pd.Series:
    """What to sort a column by: itself, or for text the place of its first appearance."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    places = {text: place for place, text in enumerate(dict.fromkeys(column))}
    return column.map(places)


def pivoted(
    frame: pd.DataFrame, index: list[str], column: str, order: Sequence[str | float], value: str = "mean"
) -> pd.DataFrame:
    """A frame with one row per `index` and one column of `value` per value of `column`, orders kept; of
    several values for one cell, the first."""
    wide = frame[index].drop_duplicates().reset_index(drop=True)
    row = frame.groupby(index, sort=False, dropna=False).ngroup().to_numpy()
    codes, names = pd.factorize(frame[column])
    place_of = {name: place for place, name in enumerate(names)}
    places = np.full((len(place_of) + 1, len(wide)), -1)  # of the value of each cell; last, what has no name
    places[codes[::-1], row[::-1]] = np.arange(len(frame))[::-1]
    values = frame[value].to_numpy()
    for name in order:
        if name in place_of:
            wide[name] = _taken(values, places[place_of[name]])
    return wide


def _taken(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The values at some places, NaN where the place is negative."""
    missing = places < 0
    if not missing.any():
        return values[places]
    taken = values.astype(np.float64 if values.dtype.kind in "iuf" else object)[places]
    taken[missing] = np.nan
    return taken


def matches(frame: pd.DataFrame, row: Mapping[Any, Any] | pd.Series, keys: Sequence[str]) -> np.ndarray:
    """Which rows of the frame have the values of `row` under all of these keys."""
    return np.logical_and.reduce([frame[key].to_numpy() == row[key] for key in keys])


def stacked(parts: list[pd.DataFrame], like: pd.DataFrame) -> pd.DataFrame:
    """The parts one below the other; an empty frame with the same columns when there is none."""
    return pd.concat(parts) if parts else like
