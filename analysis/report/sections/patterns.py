"""Figures of where heads attend, before against after fine-tuning."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from microtome.analysis.attention.patterns import PATTERNS
from microtome.analysis.report.canvas import (
    MUTED,
    Picture,
    hide,
    legend,
    model_look,
    panels,
    picture,
    slug,
    style,
)
from microtome.analysis.report.frames import (
    ITEM,
    in_order,
    metric_name,
    numbers,
    over_seeds,
    percent,
    pivoted,
)
from microtome.analysis.report.heatmaps import MAX_COLUMNS, HeatMap, Scale, cell_matrix, chunks, map_grid
from microtome.analysis.report.section import Figure
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import as_table, estimates

LINES = (
    "Where heads attend, mean over the heads of a layer: dashed before, solid after fine-tuning on "
    "{share} of the training data. Entropy is 0 for a head that attends to one token and 1 for one that "
    "attends to all alike; distance is in tokens; the others are shares of attention."
)
MAPS = (
    "The same by layer (across) and head (up): after fine-tuning on {share} of the training data minus "
    "before. Red is more, blue less; each row of maps has its own scale, whose end stands above each map."
)
DIVERGING = "RdBu_r"
BEFORE = (0, (3, 2))


def pattern_figures(results: Results) -> list[Figure]:
    """Lines of the mean over heads, and folded maps of the difference; nothing without both stages."""
    heads = _heads(results.rows)
    if heads.empty:
        return []
    share = " or ".join(percent(fraction) for fraction in numbers(heads["fraction"]))
    models = results.models_in(heads)
    by_layer = heads.groupby([*ITEM, "metric", "layer"], sort=False)[["before", "after"]].mean().reset_index()
    by_layer["change"] = by_layer["after"] - by_layer["before"]
    return [
        Figure(
            title="Attention patterns before and after",
            caption=LINES.format(share=share),
            pictures=pattern_lines(by_layer, models),
            table=as_table(
                _by_fraction(results.rows), "table-patterns", "Attention patterns, mean over heads, by layer"
            ),
        ),
        Figure(
            title="Change of attention patterns, head by head",
            caption=MAPS.format(share=share),
            pictures=pattern_maps(heads, models),
            table=as_table(
                _by_head(heads), "table-pattern-changes", "Change of attention patterns, by layer and head"
            ),
            folded=True,
        ),
    ]


def _stages(rows: pd.DataFrame) -> pd.DataFrame:
    selected = rows[(rows["kind"] == "attention") & rows["metric"].isin(PATTERNS) & (rows["fraction"] > 0)]
    return selected[selected["stage"].isin(["before", "after"])].dropna(subset=["layer", "head"])


def _heads(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds before and after, and the difference, by head, at the largest fraction of each task."""
    selected = _stages(rows)
    selected = selected[selected["fraction"] == selected.groupby("task")["fraction"].transform("max")]
    keys = [*ITEM, "metric", "fraction", "layer", "head"]
    if not {"before", "after"} <= set(selected["stage"]):
        return selected.iloc[:0]
    wide = pivoted(over_seeds(selected, [*keys, "stage"]), keys, "stage", ["before", "after"])
    return wide.dropna(subset=["before", "after"]).assign(mean=lambda frame: frame["after"] - frame["before"])


def _by_fraction(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over heads by layer: before, and after at each fraction, with the deviation over seeds."""
    selected = _stages(rows)
    # Every comparison has the same "before": one column is enough.
    selected = selected.assign(
        column=[0.0 if stage == "before" else f for stage, f in selected[["stage", "fraction"]].to_numpy()]
    )
    keys = [*ITEM, "metric", "layer"]
    run = selected.groupby([*keys, "column", "seed", "stage"], sort=False, dropna=False)
    means = run[["value", "low", "high", "n"]].mean().reset_index()
    frame = over_seeds(means, [*keys, "column"])
    frame.loc[frame["column"] == 0, "deviation"] = np.nan
    wide = estimates(frame, keys, "column", numbers(frame["column"]), lambda f: percent(f) if f else "before")
    return wide.assign(metric=wide["metric"].map(metric_name))


def _by_head(heads: pd.DataFrame) -> pd.DataFrame:
    frame = heads.assign(metric=heads["metric"].map(metric_name))
    wide = pivoted(frame, [*ITEM, "metric", "fraction", "layer"], "head", numbers(frame["head"]))
    return wide.rename(columns=lambda name: f"head {name:g}" if isinstance(name, float) else name)


def pattern_lines(by_layer: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """A picture per task, a panel per pattern, two lines per model."""
    pictures = []
    for at, (task, part) in enumerate(by_layer.groupby("task", sort=False), 1):
        patterns = [name for name in PATTERNS if name in set(part["metric"])]
        columns = min(MAX_COLUMNS, len(patterns))
        ident = f"attention-patterns-{at}-{slug(str(task))}"
        with style(ident):
            rows, entries = -(-len(patterns) // columns), len(models) + 1
            figure, axes = panels(
                rows, columns, height=1.3, widest=4.2, gap_x=0.48, gap_y=0.5, legend_entries=entries
            )
            lines: dict[str, Line2D] = {}
            for axis, pattern in zip(axes.flat, patterns, strict=False):
                lines |= _panel(axis, part[part["metric"] == pattern], models)
                axis.set_title(metric_name(pattern))
            for place, axis in enumerate(axes.flat[: len(patterns)]):
                axis.set_xlabel("layer" if place + columns >= len(patterns) else "")
            hide(axes.flat[len(patterns) :])
            before = Line2D([], [], color=MUTED, linestyle=BEFORE, linewidth=1.4)
            legend(figure, {**lines, "before fine-tuning": before})
            pictures.append(picture(figure, ident, str(task)))
    return pictures


def _panel(axis: Axes, part: pd.DataFrame, models: Sequence[str]) -> dict[str, Line2D]:
    lines = {}
    for model in in_order(part["model"]):
        line = part[part["model"] == model].sort_values("layer")
        look = {**model_look(models.index(model)), "markersize": 3}
        axis.plot(line["layer"], line["before"], **look | {"linestyle": BEFORE, "marker": "", "alpha": 0.75})
        (lines[model],) = axis.plot(line["layer"], line["after"], **look)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axis.margins(y=0.1)
    return lines


def pattern_maps(heads: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """A picture per task: a row of maps per pattern, a column per model."""
    pictures = []
    for at, (task, part) in enumerate(heads.groupby("task", sort=False), 1):
        ident = f"attention-pattern-changes-{at}-{slug(str(task))}"
        present = [model for model in models if model in set(part["model"])]
        grid = []
        for pattern in [name for name in PATTERNS if name in set(part["metric"])]:
            mine = part[part["metric"] == pattern]
            most = float(mine["mean"].abs().max()) or 1.0
            scale = Scale(metric_name(pattern), DIVERGING, -most, most)
            maps = [_map(mine[mine["model"] == model], model, scale) for model in present]
            grid += chunks(maps)
        with style(ident):
            height = float(np.clip(0.09 * (part["head"].max() + 1), 0.7, 1.2))
            figure = map_grid(grid, None, height=height, labels=("head", "layer"))
            pictures.append(picture(figure, ident, str(task)))
    return pictures


def _map(part: pd.DataFrame, model: str, scale: Scale) -> HeatMap:
    if part.empty:
        return HeatMap(model, np.empty((0, 0)))
    note = f"{scale.name}, ± {scale.high:.3f}"
    return HeatMap(model, cell_matrix(part, "head", "layer"), note, scale=scale)
