"""The figures of the report, as SVG pictures. Colours and markers belong to a model by its position."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.report.canvas import (
    EMPTY,
    FRACTION_COLOURS,
    INK,
    MODEL_COLOURS,
    MODEL_MARKERS,
    MUTED,
    Picture,
    hide,
    legend,
    panels,
    short,
    style,
    svg,
)
from analysis.report.tables import in_order, metric_name, numbers, percent

MAX_COLUMNS = 4
COLOUR_MAPS = {"jensen_shannon": "viridis", "cosine": "viridis_r"}  # bright is changed in both

Panel = tuple[str, str]  # task, model
Map = tuple[str, str, float]  # task, model, fraction in per cent
Item = TypeVar("Item")


def learning_curves(scores: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """Primary score against the share of training data (%): a panel per task, a line per model."""
    tasks = in_order(scores["task"])
    ticks = numbers(scores["fraction"])
    columns = min(3, len(tasks))
    lines: dict[str, Line2D] = {}
    with style("scores"):
        rows, entries = -(-len(tasks) // columns), scores["model"].nunique()
        figure, axes = panels(rows, columns, height=2.6, widest=6.0, gap_y=0.9, legend_entries=entries)
        for axis, task in zip(axes.flat, tasks, strict=False):
            part = scores[scores["task"] == task]
            for model, line in part.groupby("model", sort=False):
                lines[str(model)] = _curve(axis, line, "fraction", _model_look(models.index(str(model))))
            axis.set_title(short(task, 40))
            axis.set_ylabel(metric_name(part["metric"].iloc[0]))
            axis.set_xlabel("training data (%)")
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.margins(y=0.08)
        hide(axes.flat[len(tasks) :])
        legend(figure, {model: lines[model] for model in models if model in lines})
        return [Picture("", svg(figure, "scores"))]


def score_dots(scores: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """Primary score at the only fraction there is: a row per task, a marker per model."""
    tasks = in_order(scores["task"])
    metrics = dict(zip(scores["task"], scores["metric"], strict=True))
    lines: dict[str, Line2D] = {}
    with style("scores"):
        height, entries = 0.32 * len(tasks) + 0.3, scores["model"].nunique()
        figure, axes = panels(1, 1, height=height, widest=6.5, left=2.1, top=0.45, legend_entries=entries)
        axis = axes[0, 0]
        for model, part in scores.groupby("model", sort=False):
            places = [tasks.index(task) for task in part["task"]]
            look = {**_model_look(models.index(str(model))), "linestyle": "none"}
            axis.hlines(places, part["low"], part["high"], color=look["color"], linewidth=1.2)
            (lines[str(model)],) = axis.plot(part["mean"], places, markersize=6, **look)
        names = [f"{short(task, 18)}, {metric_name(metrics[task])}" for task in tasks]
        axis.set_yticks(range(len(tasks)), names)
        axis.set_ylim(len(tasks) - 0.5, -0.5)
        axis.set_xlabel(f"score with {percent(scores['fraction'].iloc[0])} of the training data")
        axis.margins(x=0.08)
        legend(figure, lines)
        return [Picture("", svg(figure, "scores"))]


def probing_panels(probes: pd.DataFrame, models: Sequence[str], ident: str) -> list[Picture]:
    """Probe score against layer: a panel per task and model, a line per fraction, a picture per task."""
    return [
        _probing_picture(probes, block, f"{ident}-{at}", by_task=len(models) > 1)
        for at, block in enumerate(_blocks(probes, models))
    ]


def _probing_picture(probes: pd.DataFrame, block: list[Panel], ident: str, *, by_task: bool) -> Picture:
    """The panels of one task side by side on one y axis, or, with a single model, those of all tasks."""
    fractions = numbers(probes["fraction"])
    columns = min(MAX_COLUMNS, len(block))
    lines: dict[float, Line2D] = {}
    with style(ident):
        rows, gap = -(-len(block) // columns), 0.25 if by_task else 0.6
        figure, axes = panels(
            rows, columns, height=1.85, widest=4.2, gap_x=gap, legend_entries=len(fractions)
        )
        for axis, (task, model) in zip(axes.flat, block, strict=False):
            part = probes[probes["task"] == task]
            lines |= _probing_panel(axis, part[part["model"] == model], fractions)
            axis.set_title(short(model if by_task else task, 26))
            axis.set_ylim(*_limits(part))
        for place, axis in enumerate(axes.flat[: len(block)]):
            axis.tick_params(labelleft=not by_task or place % columns == 0)
            axis.set_xlabel("layer" if place + columns >= len(block) else "")
        for axis in axes[:, 0]:
            axis.set_ylabel(metric_name(part["metric"].iloc[0]) if by_task else "score")
        hide(axes.flat[len(block) :])
        legend(figure, {_stage(fraction): lines[fraction] for fraction in fractions if fraction in lines})
        return Picture(block[0][0] if by_task else "", svg(figure, ident))


def _probing_panel(axis: Axes, part: pd.DataFrame, fractions: list[float]) -> dict[float, Line2D]:
    """The lines of one model on one task, with a dot on the best layer of each."""
    lines = {}
    for fraction in numbers(part["fraction"]):
        line = part[part["fraction"] == fraction].sort_values("layer")
        look = _fraction_look(fraction, fractions)
        lines[fraction] = _curve(axis, line, "layer", look)
        best = line.iloc[int(line["mean"].argmax())]
        axis.plot([best["layer"]], [best["mean"]], marker="o", markersize=5, color=look["color"], zorder=4)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    return lines


def attention_maps(heads: pd.DataFrame, models: Sequence[str], measure: str) -> list[Picture]:
    """Attention change by layer (across) and head (up): a map per task, model and fraction.

    There is a picture per task; all maps of a measure share one colour scale.
    """
    least, most = float(heads["mean"].min()), float(heads["mean"].max())
    limits = (0.0, most if most > 0 else 1.0) if measure == "jensen_shannon" else (min(least, 0.999), 1.0)
    return [
        _attention_picture(heads, block, measure, limits, at, by_task=len(models) > 1)
        for at, block in enumerate(_map_blocks(heads, models))
    ]


def _attention_picture(
    heads: pd.DataFrame,
    block: list[list[Map]],
    measure: str,
    limits: tuple[float, float],
    at: int,
    *,
    by_task: bool,
) -> Picture:
    """The maps of one task, or, with a single model, those of all tasks."""
    ident = f"{measure.replace('_', '-')}-{at}"
    columns = max(len(row) for row in block)
    height = float(np.clip(0.1 * (heads["head"].max() + 1), 1.0, 1.4))
    with style(ident):
        figure, axes = panels(
            len(block), columns, height=height, widest=3.4, left=0.45, top=0.92, gap_x=0.34, gap_y=0.6
        )
        for line, keys in zip(axes, block, strict=True):
            for axis, (task, model, fraction) in zip(line, keys, strict=False):
                chosen = (heads["task"] == task) & (heads["model"] == model) & (heads["fraction"] == fraction)
                name = model if by_task else task
                title = f"{short(name, 19)} · {percent(fraction)}"
                _attention_map(axis, heads[chosen], title, measure, limits)
            hide(line[len(keys) :])
            line[0].set_ylabel("head")
        for column in range(columns):
            lowest = axes[[len(keys) > column for keys in block], column][-1]
            lowest.set_xlabel("layer")
        _colour_bar(figure, measure, limits)
        return Picture(block[0][0][0] if by_task else "", svg(figure, ident))


def _attention_map(
    axis: Axes, part: pd.DataFrame, title: str, measure: str, limits: tuple[float, float]
) -> None:
    """One map, with a ring on the head that changed most and the numbers above it; gaps stay grey."""
    axis.set_title(title, pad=14)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    if part.empty:
        axis.set(xticks=[], yticks=[])
        axis.text(0.5, 0.5, "no result", color=MUTED, ha="center", va="center", transform=axis.transAxes)
        return
    grid = np.full((int(part["head"].max()) + 1, int(part["layer"].max()) + 1), np.nan)
    grid[part["head"].astype(int), part["layer"].astype(int)] = part["mean"]
    axis.set_facecolor(EMPTY)
    axis.imshow(
        grid,
        cmap=COLOUR_MAPS[measure],
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        aspect="auto",
        interpolation="none",
    )
    kind, extreme = ("max", np.nanargmax) if measure == "jensen_shannon" else ("min", np.nanargmin)
    head, layer = np.unravel_index(extreme(grid), grid.shape)
    axis.plot([layer], [head], "o", markersize=6, mfc="none", mec="#e8000b", mew=1.1)
    axis.text(
        0,
        1.04,
        f"mean {np.nanmean(grid):.3f} · {kind} {grid[head, layer]:.3f} at L{layer} H{head}",
        transform=axis.transAxes,
        fontsize=7.2,
        color=MUTED,
    )
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))


def _colour_bar(figure: Figure, measure: str, limits: tuple[float, float]) -> None:
    """The shared colour scale, at the upper left."""
    width, height = figure.get_size_inches()
    axis = figure.add_axes((0.45 / width, 1 - 0.19 / height, 1.6 / width, 0.13 / height))
    ramp = np.linspace(*limits, 128)[None, :]
    axis.imshow(ramp, cmap=COLOUR_MAPS[measure], aspect="auto", extent=(*limits, 0, 1), interpolation="none")
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.set_yticks([])
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axis.text(1.04, 0.5, metric_name(measure), transform=axis.transAxes, va="center")


def _curve(axis: Axes, line: pd.DataFrame, x: str, look: dict[str, Any]) -> Line2D:
    """The mean over seeds as a line, and the range of the seeds as a band behind it."""
    line = line.sort_values(x)
    if (line["seeds"] > 1).any():
        axis.fill_between(line[x], line["low"], line["high"], color=look["color"], alpha=0.18, linewidth=0)
    return axis.plot(line[x], line["mean"], **look)[0]


def _model_look(place: int) -> dict[str, Any]:
    """Colour and marker of the model at this place; line styles tell apart the rounds of the palette."""
    return {
        "color": MODEL_COLOURS[place % len(MODEL_COLOURS)],
        "marker": MODEL_MARKERS[place % len(MODEL_MARKERS)],
        "linestyle": ("-", "--", ":")[place // len(MODEL_COLOURS) % 3],
    }


def _fraction_look(fraction: float, fractions: list[float]) -> dict[str, Any]:
    """Dark dashes before fine-tuning; after it, the further along the colour ramp the more data."""
    if fraction == 0:
        return {"color": INK, "linestyle": (0, (3, 2)), "linewidth": 1.4}
    tuned = [other for other in fractions if other > 0]
    place = (tuned.index(fraction) + 1) / len(tuned) * (len(FRACTION_COLOURS) - 1)
    return {"color": FRACTION_COLOURS[round(place)]}


def _stage(fraction: float) -> str:
    """How a line of the probing figure is called in its legend."""
    return "0 % (before fine-tuning)" if fraction == 0 else percent(fraction)


def _limits(part: pd.DataFrame) -> tuple[float, float]:
    """The y range of all panels of a task, with a little air."""
    low, high = float(part["low"].min()), float(part["high"].max())
    air = 0.07 * (high - low) or 0.05
    return low - air, high + air


def _blocks(frame: pd.DataFrame, models: Sequence[str]) -> list[list[Panel]]:
    """The panels of each picture: the models of a task, or every task when there is one model."""
    pairs = [(str(task), str(model)) for task, model in frame[["task", "model"]].drop_duplicates().to_numpy()]
    if len(models) == 1:
        return [pairs]
    tasks = in_order(frame["task"])
    return [[(task, model) for model in models if (task, model) in pairs] for task in tasks]


def _map_blocks(heads: pd.DataFrame, models: Sequence[str]) -> list[list[list[Map]]]:
    """The maps of each picture, row by row: more data is further down, or right when there is one model."""
    fractions = numbers(heads["fraction"])
    if len(models) == 1 and len(fractions) > 1:
        (pairs,) = _blocks(heads, models)
        return [[row for task, model in pairs for row in _chunks([(task, model, f) for f in fractions])]]
    return [
        [[(*pair, fraction) for pair in chunk] for chunk in _chunks(pairs) for fraction in fractions]
        for pairs in _blocks(heads, models)
    ]


def _chunks(items: list[Item]) -> list[list[Item]]:
    """Rows of at most MAX_COLUMNS items."""
    return [items[at : at + MAX_COLUMNS] for at in range(0, len(items), MAX_COLUMNS)]
