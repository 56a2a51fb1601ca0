"""Result rows as data frames. Apart from results.py, so that only what makes a frame imports pandas."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from microtome.store.results import COLUMNS

FORMULA = ("=", "+", "-", "@", "\t", "\n")  # what a cell begins with that a spreadsheet evaluates


def tidy(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str] = COLUMNS) -> pd.DataFrame:
    """A frame with exactly these columns, in that order, missing cells as NA."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    return frame.astype(dict(columns))


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
