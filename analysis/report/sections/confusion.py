"""Which class is taken for which: confusion matrices of fine-tuned models and of probes."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from microtome.analysis.metrics.confusion import METRIC
from microtome.analysis.report.canvas import Layout, Picture, picture, slug
from microtome.analysis.report.frames import in_order, percent, pivoted
from microtome.analysis.report.heatmaps import HeatMap, Scale, chunks, map_grid, map_height
from microtome.analysis.report.section import Figure
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import as_table

KEYS = ["task", "probe", "model", "fraction", "label", "predicted_label"]
SCALE = Scale("share of the gold class", "Blues", 0, 1)
TUNED = (
    "Gold classes (up) against predicted classes (right) on the test part, of each model with {share} of the "
    "training data: what share of a gold class is predicted as which class, over all seeds together. On the "
    "rising diagonal is the recall of each class. Of tagged texts words are counted, O among them."
)
PROBED = (
    "The same of the {probe} probe on the layer that is best for it on dev, each training run on its own "
    "(on test without a dev part), with {share} of the training data."
)


def confusion_figure(results: Results, kind: str, probe: str = "") -> Figure | None:
    """Confusion matrices of a kind of job with the most training data, a picture per task; of probes, those
    of one probe. The counts are in the table."""
    rows = results.rows
    rows = rows[(rows["kind"] == kind) & (rows["metric"] == METRIC) & (rows["probe"] == probe)]
    rows = rows[rows["fraction"] == rows.groupby("task")["fraction"].transform("max")]
    if rows.empty:
        return None
    counts = rows.groupby(KEYS, sort=False).agg(value=("value", "sum")).reset_index()
    ident = slug("confusion", kind, probe)
    shares = " or ".join(percent(fraction) for fraction in sorted(set(counts["fraction"]), reverse=True))
    caption = (PROBED if probe else TUNED).format(probe=probe, share=shares)
    return Figure(
        title=f"Which class is taken for which: {probe} probe" if probe else "Which class is taken for which",
        caption=caption,
        pictures=[
            _picture(part, results.models_in(part), f"{ident}-{at}-{slug(str(task))}", str(task))
            for at, (task, part) in enumerate(counts.groupby("task", sort=False), 1)
        ],
        table=as_table(
            _table(counts), f"table-{ident}", "Counts of gold and predicted classes, all seeds together"
        ),
        folded=bool(probe),
    )


def _table(counts: pd.DataFrame) -> pd.DataFrame:
    index = ["task", "model", "fraction", "label"]
    predicted = in_order(pd.concat([counts["label"], counts["predicted_label"]]))
    wide = pivoted(counts, index, "predicted_label", predicted, "value").rename(
        columns={"label": "gold class"}
    )
    present = [name for name in predicted if name in wide]
    return wide.fillna(dict.fromkeys(present, 0)).rename(columns={name: f"as {name}" for name in present})


def _picture(counts: pd.DataFrame, models: list[str], ident: str, task: str) -> Picture:
    names = tuple(in_order(pd.concat([counts["label"], counts["predicted_label"]])))
    maps = [
        HeatMap(model, shares_of_gold(counts[counts["model"] == model], names), names=names, scale=None)
        for model in models
    ]
    return picture(partial(_draw, maps), ident, task)


def _draw(maps: list[HeatMap], layout: Layout) -> Canvas:
    grid = chunks(maps, layout.most_columns if len(maps[0].names) <= 6 else layout.most_columns // 2)
    height = max(1.2, map_height(len(maps[0].names)))
    return map_grid(layout, grid, SCALE, height=height, labels=("gold", "predicted"))


def shares_of_gold(counts: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """What share of each gold class (rows) is predicted as each class; NaN where there is no gold unit."""
    places = {name: place for place, name in enumerate(names)}
    cells = np.zeros((len(names), len(names)))
    at = [counts[column].map(places).to_numpy(np.int64) for column in ("label", "predicted_label")]
    np.add.at(cells, tuple(at), counts["value"].to_numpy(np.float64))
    totals = cells.sum(axis=1, keepdims=True)
    return np.divide(cells, totals, out=np.full_like(cells, np.nan), where=totals > 0)
