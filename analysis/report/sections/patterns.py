"""Figures of where heads attend, before against after fine-tuning."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from microtome.analysis.attention.patterns import PATTERNS
from microtome.analysis.report.canvas import (
    MUTED,
    Layout,
    Picture,
    hide,
    legend,
    model_look,
    panels,
    picture,
    slug,
    title,
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
from microtome.analysis.report.heatmaps import HeatMap, Scale, cell_matrix, chunks, map_grid, map_height
from microtome.analysis.report.section import Figure
from microtome.analysis.report.sections.attention_basis import basis_sentences
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import as_table, estimates

LINES = (
    "Where heads attend, mean over the heads of a layer: dashed before, solid after fine-tuning on "
    "{share} of the training data. Entropy is 0 for a head that attends to one token and 1 for one that "
    "attends to all alike; distance is in tokens; the others are shares of attention. Each panel has a "
    "vertical axis of its own."
)
MAPS = (
    "The same by layer (across) and head (up): after fine-tuning on {share} of the training data minus "
    "before. Red is more, blue less; each pattern has a colour scale of its own, which all models share."
)
DIVERGING = "RdBu_r"
BEFORE = (0, (3, 2))
TUNED_FROM = "before fine-tuning"


def pattern_figures(results: Results) -> list[Figure]:
    """Lines of the mean over heads, and folded maps of the difference; nothing without both stages."""
    heads = _heads(results.rows)
    if heads.empty:
        return []
    share = " or ".join(percent(fraction) for fraction in numbers(heads["fraction"]))
    basis = basis_sentences(results.rows, PATTERNS)
    models = results.models_in(heads)
    by_layer = heads.groupby([*ITEM, "metric", "layer"], sort=False)[["before", "after"]].mean().reset_index()
    by_layer["change"] = by_layer["after"] - by_layer["before"]
    return [
        Figure(
            title="Attention patterns before and after",
            caption=LINES.format(share=share) + basis,
            pictures=pattern_lines(by_layer, models),
            table=as_table(
                _by_fraction(results.rows), "table-patterns", "Attention patterns, mean over heads, by layer"
            ),
        ),
        Figure(
            title="Change of attention patterns, head by head",
            caption=MAPS.format(share=share) + basis,
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
        ident = f"attention-patterns-{at}-{slug(str(task))}"
        draw = partial(_draw_lines, part, patterns, models)
        pictures.append(picture(draw, ident, str(task)))
    return pictures


def _draw_lines(part: pd.DataFrame, patterns: Sequence[str], models: Sequence[str], layout: Layout) -> Canvas:
    columns = layout.columns(len(patterns))
    rows, names = -(-len(patterns) // columns), [*in_order(part["model"]), TUNED_FROM]
    figure, axes = panels(layout, rows, columns, height=1.3, gap_x=0.48, gap_y=0.5, names=names)
    lines: dict[str, Line2D] = {}
    for axis, pattern in zip(axes.flat, patterns, strict=False):
        lines |= _panel(axis, part[part["metric"] == pattern], models)
        title(axis, metric_name(pattern))
    for place, axis in enumerate(axes.flat[: len(patterns)]):
        axis.set_xlabel("layer" if place + columns >= len(patterns) else "")
    hide(axes.flat[len(patterns) :])
    before = Line2D([], [], color=MUTED, linestyle=BEFORE, linewidth=1.4)
    legend(figure, {**lines, TUNED_FROM: before})
    return figure


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
        pictures.append(picture(partial(_draw_maps, part, present), ident, str(task)))
    return pictures


def _draw_maps(part: pd.DataFrame, models: list[str], layout: Layout) -> Canvas:
    """A row of maps per pattern, or, with a single model, several patterns in a row."""
    by_pattern = []
    for pattern in [name for name in PATTERNS if name in set(part["metric"])]:
        of_pattern = part[part["metric"] == pattern]
        most = float(of_pattern["mean"].abs().max()) or 1.0
        scale = Scale(metric_name(pattern), DIVERGING, -most, most)
        by_pattern.append([_map(of_pattern[of_pattern["model"] == model], model, scale) for model in models])
    if len(models) == 1:
        maps = [replace(one, title=one.note, note="") for row in by_pattern for one in row]
        grid = chunks(maps, layout.most_columns)
    else:
        grid = [row for maps in by_pattern for row in chunks(maps, layout.most_columns)]
    height = map_height(part["head"].max() + 1)
    return map_grid(layout, grid, None, height=height, labels=("head", "layer"))


def _map(part: pd.DataFrame, model: str, scale: Scale) -> HeatMap:
    if part.empty:
        return HeatMap(model, np.empty((0, 0)))
    return HeatMap(model, cell_matrix(part, "head", "layer"), scale.name, scale=scale)
