"""What test texts have in common with training texts, and the scores of those that have nothing."""

from microtome.analysis.report.frames import ITEM, metric_name, over_seeds
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import BOUNDS, Table, as_table, bounds_of
from microtome.store.results import WITHOUT_DUPLICATES

SHARES = ("also_in_train", "first_text_in_train")
TITLE = "Scores over all test texts, and over those that no training text equals word for word"
KEYS = [*ITEM, "fraction", "metric"]


def overlap_table(results: Results) -> Table | None:
    """The primary score beside that without duplicates, of the tasks that have any, or whose pairs share a
    first text with training pairs."""
    rows = results.rows
    rows = rows[(rows["kind"] == "finetune") & (rows["label"] == "")]
    without = over_seeds(rows[rows["split"] == WITHOUT_DUPLICATES], KEYS)
    frame = results.primary[[*KEYS, "mean", *BOUNDS, "n"]].rename(
        columns={"mean": "score", **bounds_of("score")}
    )
    names = {"mean": "without duplicates", **bounds_of("without duplicates"), "n": "n without"}
    frame = frame.merge(without[[*KEYS, *names]].rename(columns=names), on=KEYS, how="left")
    test = rows[rows["split"] == "test"]
    for metric in SHARES:
        share = test[test["metric"] == metric].groupby("task", sort=False)["value"].mean()
        frame[metric_name(metric)] = frame["task"].map(share)
    shares = frame[[metric_name(metric) for metric in SHARES]]
    frame = frame[(shares > 0).any(axis="columns") | frame["without duplicates"].notna()]
    if frame.empty:
        return None
    frame = frame.assign(metric=frame["metric"].map(metric_name)).dropna(axis="columns", how="all")
    return as_table(frame.reset_index(drop=True), "table-overlap", TITLE)
