"""What test texts have in common with training texts, and the scores of those that have nothing."""

import pandas as pd

from microtome.analysis.report.frames import ITEM, metric_name, over_seeds
from microtome.analysis.report.sections.results import Results, best_layers
from microtome.analysis.report.tables import BOUNDS, Table, as_table, bounds_of
from microtome.store.results import WITHOUT_DUPLICATES

SHARES = ("also_in_train", "first_text_in_train")
TITLE = "Scores over all test texts, and over those that no training text equals word for word"
TITLE_OF_PROBES = (
    "Scores of the best layers over all test texts, and over those that no text equals word for word "
    "that the probe was fitted on"
)
KEYS = [*ITEM, "fraction", "metric"]
LAYER_KEYS = ["probe", *KEYS, "layer"]


def overlap_table(results: Results) -> Table | None:
    """The primary score beside that without duplicates, of the tasks that have any, or whose pairs share a
    first text with training pairs."""
    rows = results.rows
    rows = rows[(rows["kind"] == "finetune") & (rows["label"] == "")]
    frame = _beside(results.primary, rows, KEYS)
    test = rows[rows["split"] == "test"]
    for metric in SHARES:
        share = test[test["metric"] == metric].groupby("task", sort=False)["value"].mean()
        frame[metric_name(metric)] = frame["task"].map(share)
    shares = frame[[metric_name(metric) for metric in SHARES]]
    return _table(frame[(shares > 0).any(axis="columns") | _scored(frame)], "table-overlap", TITLE)


def probe_overlap_table(results: Results) -> Table | None:
    """The same of the best layer of each probe."""
    if results.probes.empty:
        return None
    rows = results.rows
    frame = _beside(best_layers(results.probes), rows[rows["kind"] == "probe"], LAYER_KEYS)
    return _table(frame[_scored(frame)], "table-probe-overlap", TITLE_OF_PROBES)


def _beside(scores: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The scores, and beside each that without duplicates."""
    without = over_seeds(rows[rows["split"] == WITHOUT_DUPLICATES], keys)
    names = {"mean": "without duplicates", **bounds_of("without duplicates"), "n": "n without"}
    frame = scores[[*keys, "mean", *BOUNDS, "n"]].rename(columns={"mean": "score", **bounds_of("score")})
    return frame.merge(without[[*keys, *names]].rename(columns=names), on=keys, how="left")


def _scored(frame: pd.DataFrame) -> pd.Series:
    return frame["without duplicates"].notna()


def _table(frame: pd.DataFrame, name: str, title: str) -> Table | None:
    if frame.empty:
        return None
    frame = frame.assign(metric=frame["metric"].map(metric_name)).dropna(axis="columns", how="all")
    return as_table(frame.reset_index(drop=True), name, title)
