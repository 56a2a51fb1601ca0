"""From a frame to a table on the page: printed cells, and all of its numbers as CSV."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from microtome.analysis.report.frames import pivoted, shown
from microtome.store.frames import as_csv

WHOLE = ["fraction", "layer", "other layer", "layer before", "layer after", "seeds", "n", "rows", "support"]
WHOLE += ["train", "dev", "test", "models", "jobs", "seconds", "bytes", "epoch", "heads", "changed", "head"]
MISSING = "–"
EXACT = 1000  # from here on, one decimal is enough
MOST_ROWS = 200  # of a printed table; what is beyond is in its CSV

BOUNDS = ("low", "high", "deviation")  # of a number, in this order

Styles = dict[tuple[int, str], str]  # row position, column name -> CSS classes


@dataclass(frozen=True)
class Bound:
    """The name of a column that holds the low, high or deviation of the numbers in another column."""

    of: str
    bound: str

    def __str__(self) -> str:
        return f"{self.of} {self.bound}"


def bounds_of(name: str) -> dict[str, Bound]:
    """The columns that belong to the column `name`, by what they hold."""
    return {bound: Bound(name, bound) for bound in BOUNDS}


@dataclass(frozen=True)
class Cell:
    """One printed table cell. `note` is a second, smaller line; `style` is a set of CSS classes."""

    text: str
    note: str = ""
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table ready to print, with all of its numbers at six digits as a CSV file in a data: address."""

    ident: str
    title: str
    columns: list[str]
    numeric: list[bool]
    cells: list[list[Cell]]
    rows: int
    csv: str
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def href(self) -> str:
        """The CSV file as a data: address."""
        return "data:text/csv;charset=utf-8," + quote(self.csv, safe=",.-_~")


def estimates(
    frame: pd.DataFrame,
    index: list[str],
    column: str,
    order: Sequence[Any],
    named: Callable[[Any], str] = str,
) -> pd.DataFrame:
    """A frame with a column of means per value of `column`, each followed by its low, high and deviation
    where there are any."""
    means = pivoted(frame, index, column, order)
    full = means[index].copy()
    wide = {bound: pivoted(frame, index, column, order, bound) for bound in BOUNDS}
    for key in means.columns[len(index) :]:
        full[named(key)] = means[key]
        for bound, values in wide.items():
            if values[key].notna().any():
                full[Bound(named(key), bound)] = values[key]
    return full


def renamed(frame: pd.DataFrame, **names: str) -> pd.DataFrame:
    """A frame of over_seeds with its mean under another name, and the bounds of the mean as its own; columns
    without information are left out."""
    empty = [bound for bound in BOUNDS if frame[bound].isna().all()]
    empty += ["seeds"] if "seeds" in frame and (frame["seeds"] == 1).all() else []
    return frame.drop(columns=empty).rename(columns={**bounds_of(names["mean"]), **names})


def away_from_zero(full: pd.DataFrame, names: Iterable[Any]) -> Styles:
    """The style of the differences whose interval leaves zero out, by row position and column name."""
    styles: Styles = {}
    for name in names:
        if not isinstance(name, Bound) and Bound(name, "low") in full:
            away = (full[Bound(name, "low")] > 0) | (full[Bound(name, "high")] < 0)
            styles |= {(int(row), name): "sure" for row in np.flatnonzero(away)}
    return styles


def shown_styles(
    derived: pd.DataFrame, index: list[str], column: str, named: Callable[[Any], str] = str
) -> Styles:
    """The style of differences that are more than chance (see frames.shown), in the table that `estimates`
    makes of the same rows."""
    marked = pivoted(
        derived.assign(shown=shown(derived)), index, column, sorted(set(derived[column])), "shown"
    )
    return {
        (row, named(key)): "sure"
        for key in marked.columns[len(index) :]
        for row in np.flatnonzero([cell is True or cell == 1 for cell in marked[key]]).tolist()
    }


def as_table(
    frame: pd.DataFrame,
    ident: str,
    title: str,
    *,
    groups: tuple[tuple[str, int], ...] = (),
    styles: Styles | None = None,
    texts: Mapping[str, Callable[[float], str]] | None = None,
    heads: Mapping[str, str] | None = None,
) -> Table:
    """Print a frame: 3 decimals, 1 for large numbers, none in whole-number columns, a missing cell as a dash.

    A column whose name is a Bound is printed below the number it belongs to: its 95 % interval, else ± its
    deviation over seeds. `styles` are by row position and column name, `groups` labels over spans of the
    printed columns, `texts` say how else a column is printed, and `heads` what else stands above it.
    """
    frame = _typed(frame.reset_index(drop=True))
    columns = printed_columns(frame)
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in columns]
    styles, texts = styles or {}, texts or {}
    cells = [
        [
            Cell(
                texts.get(name, printed)(record[name]),
                _below(record, name),
                styles.get((at, name), ""),
            )
            for name in columns
        ]
        for at, record in enumerate(frame.head(MOST_ROWS).to_dict("records"))
    ]
    return Table(
        ident=ident,
        title=title,
        columns=[(heads or {}).get(name, name) for name in columns],
        numeric=numeric,
        cells=cells,
        rows=len(frame),
        csv=as_csv(frame.rename(columns=str), float_format="%.6g"),
        groups=groups,
    )


def printed_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that a table of the frame has; bounds are printed below their numbers."""
    return [str(name) for name in frame if not isinstance(name, Bound)]


def _below(record: Mapping[Any, Any], name: str) -> str:
    """What is printed below a number."""
    low, high, deviation = (record.get(bound) for bound in bounds_of(name).values())
    if pd.notna(low) and pd.notna(high):
        return f"{_bare(low)} to {_bare(high)}"
    return f"± {_bare(deviation)}" if pd.notna(deviation) else ""


def _bare(value: float) -> str:
    """A number without the nought before its point, to be printed small."""
    return re.sub(r"\b0\.", ".", printed(value))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with whole-number columns as nullable integers, so that a layer prints as 3, not 3.000."""
    typed = frame.rename(columns=lambda name: name if isinstance(name, Bound) else str(name))
    for name in typed.columns.intersection(WHOLE):
        if pd.api.types.is_numeric_dtype(typed[name]) and (typed[name].dropna() % 1 == 0).all():
            typed[name] = typed[name].astype("Int64")
    return typed


def printed(value: object) -> str:
    """A cell as it is printed."""
    if pd.isna(value) or value == "":  # type: ignore[call-overload]
        return MISSING
    if isinstance(value, float):
        places = 3 if abs(value) < EXACT else 1
        # Adding zero turns a rounded -0.0 into 0.0.
        return f"{round(value, places) + 0.0:.{places}f}".replace("-", "\N{MINUS SIGN}")
    return str(value)
