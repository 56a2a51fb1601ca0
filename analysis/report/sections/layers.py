"""Curves over layers: a panel per task and model, a line per fraction, as several sections draw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from microtome.analysis.report.blocks import Block, Panel, blocks, of
from microtome.analysis.report.canvas import (
    MUTED,
    Layout,
    Picture,
    curve,
    fraction_look,
    hide,
    legend,
    panels,
    picture,
    title,
)
from microtome.analysis.report.frames import in_order, metric_name, numbers, percent, spread

FAR = 1.5  # times the range of the lines
BASELINE_LINES = {"majority": (0, (1, 1.5)), "bag-of-words": (0, (4, 1.5, 1, 1.5))}
BEFORE = "0 % (before fine-tuning)"


def layer_curves(
    frame: pd.DataFrame,
    models: Sequence[str],
    ident: str,
    *,
    height: float = 1.85,
    best: bool = False,
    baselines: pd.DataFrame | None = None,
    markers: pd.DataFrame | None = None,
) -> list[Picture]:
    """Means against layer: a picture per task, or one if there is a single model.

    `best` puts a dot on the highest point of each line. `baselines` are horizontal lines: rows with task,
    model, probe (their name) and mean. `markers` are points on the layer axis by task, model and fraction.
    """
    fractions = numbers(frame["fraction"])
    pictures = []
    for block in blocks(frame, models):
        curves = _Curves(frame, block, fractions, height, best, baselines, markers)
        pictures.append(picture(partial(_draw, curves), f"{ident}-{block.name}", block.heading))
    return pictures


def axes_note(models: Sequence[str]) -> str:
    """Which panels of layer_curves share a vertical axis, for a caption."""
    if len(models) > 1:
        return " The panels of a task share the vertical axis."
    return " Each panel has a vertical axis of its own."


@dataclass(frozen=True)
class _Curves:
    """What the panels of one block are drawn from; see layer_curves."""

    frame: pd.DataFrame
    block: Block
    fractions: list[float]
    height: float
    best: bool
    baselines: pd.DataFrame | None
    markers: pd.DataFrame | None


def _draw(curves: _Curves, layout: Layout) -> Figure:
    """The panels of one block on one y axis, or, with a single model, each on its own."""
    frame, block, baselines, markers = curves.frame, curves.block, curves.baselines, curves.markers
    fractions = curves.fractions
    shared = bool(block.heading)
    columns = layout.columns(len(block.panels))
    lines: dict[str, Line2D] = {}
    rows, gap = -(-len(block.panels) // columns), 0.25 if shared else 0.6
    order = [*(_line_name(fraction) for fraction in fractions), *BASELINE_LINES]
    present = {*order[: len(fractions)], *(baselines["probe"] if baselines is not None else ())}
    names = [name for name in order if name in present]
    figure, axes = panels(layout, rows, columns, height=curves.height, gap_x=gap, names=names)
    for axis, panel in zip(axes.flat, block.panels, strict=False):
        lines |= _lines(axis, of(frame, panel), fractions, best=curves.best)
        if baselines is not None:
            lines |= _baseline_lines(axis, of(baselines, panel))
        if markers is not None:
            _markers(axis, of(markers, panel), fractions)
        title(axis, block.title(panel))
        axis.set_ylim(*_limits(frame, baselines, block.panels if shared else [panel]))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    for place, axis in enumerate(axes.flat[: len(block.panels)]):
        axis.tick_params(labelleft=not shared or place % columns == 0)
        axis.set_xlabel("layer" if place + columns >= len(block.panels) else "")
    metrics = in_order(_shown(frame, block.panels)["metric"])
    label = metric_name(metrics[0]) if len(metrics) == 1 else "score"
    for axis in axes[:, 0]:
        axis.set_ylabel(label)
    hide(axes.flat[len(block.panels) :])
    legend(figure, {name: lines[name] for name in order if name in lines})
    return figure


def _lines(axis: Axes, part: pd.DataFrame, fractions: list[float], *, best: bool) -> dict[str, Line2D]:
    """The lines of one panel, by what they are called in the legend."""
    lines = {}
    for fraction in numbers(part["fraction"]):
        line = part[part["fraction"] == fraction].sort_values("layer")
        look = fraction_look(fraction, fractions)
        lines[_line_name(fraction)] = curve(axis, line, "layer", look, band=0.13)
        if best:
            top = line.iloc[int(line["mean"].argmax())]
            axis.plot([top["layer"]], [top["mean"]], marker="o", markersize=5, color=look["color"], zorder=4)
    return lines


def _baseline_lines(axis: Axes, part: pd.DataFrame) -> dict[str, Line2D]:
    """Horizontal lines at scores that have no layer."""
    return {
        str(row["probe"]): axis.axhline(
            row["mean"], color=MUTED, linewidth=1.1, linestyle=BASELINE_LINES[row["probe"]], zorder=1.5
        )
        for row in part.drop_duplicates("probe").to_dict("records")
    }


def _markers(axis: Axes, part: pd.DataFrame, fractions: list[float]) -> None:
    """Triangles on the layer axis."""
    for row in part.to_dict("records"):
        colour = fraction_look(row["fraction"], fractions)["color"]
        base = axis.get_xaxis_transform()
        axis.plot([row["mean"]], [0.03], "^", color=colour, markersize=6, transform=base, clip_on=False)


def _line_name(fraction: float) -> str:
    """How a line is called in the legend."""
    return BEFORE if fraction == 0 else percent(fraction)


def _limits(frame: pd.DataFrame, baselines: pd.DataFrame | None, shown: list[Panel]) -> tuple[float, float]:
    """The y range of some panels, with a little air. A baseline that is far from all lines is left outside:
    it would press them flat."""
    part = _shown(frame, shown)
    ends = np.concatenate([np.asarray(end, dtype=np.float64) for end in [part["mean"], *spread(part)]])
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    if baselines is not None:
        reach = FAR * (high - low)
        near = [
            baseline
            for baseline in _shown(baselines, shown)["mean"]
            if low - reach <= baseline <= high + reach
        ]
        low, high = min([low, *near]), max([high, *near])
    air = 0.07 * (high - low) or 0.05
    return low - air, high + air


def _shown(frame: pd.DataFrame, shown: list[Panel]) -> pd.DataFrame:
    return pd.concat([of(frame, panel) for panel in shown])
