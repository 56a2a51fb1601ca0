"""Heat maps: grids of cells on one colour scale, as the attention and the similarity sections draw them."""

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from microtome.analysis.report.canvas import (
    EMPTY,
    MUTED,
    Layout,
    height_of,
    hide,
    panels,
    title,
    width_of,
)

RING = "#e8000b"
RING_ROOM = 0.09  # inches from the left edge of a cell to the middle of its ring, beside the value
VALUE_ROOM = (0.42, 0.13)  # inches that a value needs
LABEL_HEIGHT = 0.115
LABEL_PAD = 3.5  # points between a map and its labels
NAME_ROOM = 0.09  # inches from the edge of the figure to the middle of the name of the rows
BELOW = 0.27  # inches from a map to the name of its columns
LEFT, GAP, BAR_ROOM = 0.45, 0.34, 0.64
NAME_CHARACTER = 0.058  # inches of a name beside a row
LONGEST_NAME = 22  # characters that are shown
BAR_TICK = 0.3  # inches
NOTE_LINE, NOTE_CHARACTER = 0.14, 0.058
Item = TypeVar("Item")


@dataclass(frozen=True)
class Scale:
    """What the colours of a map stand for."""

    name: str
    colours: str
    low: float
    high: float


@dataclass(frozen=True)
class HeatMap:
    """One map: `cells` are float [rows from below, columns], NaN where there is none. `ring` is a cell (row,
    column) to point out, `note` a line between title and map. `names` are those of rows and columns alike;
    without names they are numbered."""

    title: str
    cells: NDArray[Any]
    note: str = ""
    ring: tuple[int, int] | None = None
    names: tuple[str, ...] = ()
    scale: Scale | None = None  # where it is not that of the whole grid


def cell_matrix(part: pd.DataFrame, row: str, column: str) -> NDArray[Any]:
    """The means of a frame by two columns of whole numbers from 0."""
    cells = np.full((int(part[row].max()) + 1, int(part[column].max()) + 1), np.nan)
    cells[part[row].astype(int), part[column].astype(int)] = part["mean"]
    return cells


def map_height(rows: float) -> float:
    """Inches in which every one of up to 16 rows has a label of its own."""
    return float(np.clip((LABEL_HEIGHT + 0.005) * rows, 1.0, 2.0))


def map_grid(
    layout: Layout,
    grid: Sequence[Sequence[HeatMap]],
    scale: Scale | None,
    *,
    height: float,
    labels: tuple[str, str],
) -> Figure:
    """Rows of maps with one colour bar above, or, without a common `scale`, one beside each map or each row
    of maps that share theirs; `labels` are those of the upward and the rightward axis."""
    columns = max(len(row) for row in grid)
    longest = max(len(_shown(name)) for row in grid for one in row for name in (*one.names, ""))
    left, gap = LEFT + NAME_CHARACTER * max(0, longest - 2), GAP
    right = 0.12 if scale else BAR_ROOM
    if not scale and any(a.scale != b.scale for row in grid for a, b in pairwise(row)):
        gap = BAR_ROOM + GAP / 2
    width = (layout.width - left - right - gap * (columns - 1)) / columns
    notes = [_wrapped(one.note, width) for row in grid for one in row]
    lines = max(note.count("\n") + 1 if note else 0 for note in notes)
    above = 0.24 + NOTE_LINE * lines
    figure, axes = panels(
        layout,
        len(grid),
        columns,
        height=height,
        left=left,
        right=right,
        top=(0.5 if scale else 0.1) + above,
        gap_x=gap,
        gap_y=0.2 + above,
        exact=True,
    )
    for line, maps in zip(axes, grid, strict=True):
        for place, (axis, one) in enumerate(zip(line, maps, strict=False)):
            # Names that are the same as at its left stand there, where there is room for them.
            named = place == 0 or not one.names or one.names != maps[place - 1].names
            _draw(axis, one, one.scale or scale, lines, name_rows=named)
            is_last = place + 1 == len(maps) or maps[place + 1].scale != one.scale
            if one.scale is not None and is_last and one.cells.size:
                _bar_beside(axis, one.scale)
        hide(line[len(maps) :])
        _name_axis(line[0], labels[0], left, upward=True)
    for column in range(columns):
        lowest = axes[[len(maps) > column for maps in grid], column][-1]
        _name_axis(lowest, labels[1], BELOW, upward=False)
    if scale:
        _bar_above(figure, scale)
    return figure


def _draw(axis: Axes, one: HeatMap, scale: Scale | None, note_lines: int, *, name_rows: bool) -> None:
    """One map; gaps are grey. A map has neither ticks nor a grid, which take most of the time of a drawing:
    its labels are texts."""
    title(axis, one.title, pad=4 + 10 * note_lines)
    axis.set_axis_off()
    if not one.cells.size or scale is None:
        axis.text(0.5, 0.5, "no result", color=MUTED, ha="center", va="center", transform=axis.transAxes)
        return
    if np.isnan(one.cells).any():
        axis.add_patch(Rectangle((0, 0), 1, 1, transform=axis.transAxes, facecolor=EMPTY, linewidth=0))
    axis.imshow(
        one.cells,
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        origin="lower",
        aspect="auto",
        interpolation="none",
    )
    _write_values(axis, one.cells, scale)
    if one.ring is not None:
        for colour, width in (("white", 2.4), (RING, 1.1)):
            place = one.ring[1] - 0.5 + RING_ROOM / cell_size(axis, one.cells)[0], one.ring[0]
            axis.plot(*([at] for at in place), "o", markersize=6, mfc="none", mec=colour, mew=width)
    note = _wrapped(one.note, width_of(axis))
    axis.annotate(
        note, (0, 1), xytext=(0, 3), xycoords="axes fraction", textcoords="offset points",
        fontsize=7.2, color=MUTED, va="bottom",
    )  # fmt: skip
    _label_cells(axis, one, name_rows=name_rows)


def _name_axis(axis: Axes, name: str, away: float, *, upward: bool) -> None:
    """What the rows or the columns of a map are; `away` is the room for it and the labels, in inches."""
    place = (-(away - NAME_ROOM) / width_of(axis), 0.5) if upward else (0.5, -away / height_of(axis))
    axis.text(
        *place, name, transform=axis.transAxes, rotation=90 if upward else 0, rotation_mode="anchor",
        ha="center", va="center", color=MUTED, label="axis",
    )  # fmt: skip


def _label_cells(axis: Axes, one: HeatMap, *, name_rows: bool) -> None:
    """A name or number for each row and column; for every second or third where they are too narrow."""
    width, height = cell_size(axis, one.cells)
    rows, columns = one.cells.shape
    longest = max((len(_shown(name)) for name in one.names), default=2)
    x = range(0, columns, max(1, math.ceil((0.07 + 0.06 * longest) / width)))
    y = range(0, rows, max(1, math.ceil(LABEL_HEIGHT / height)))
    transform, va, ha = axis.get_xaxis_text1_transform(LABEL_PAD)
    look: dict[str, Any] = {"fontsize": 7, "color": MUTED}
    for at in x:
        name = _shown(one.names[at]) if one.names else str(at)
        axis.text(at, 0, name, transform=transform, va=va, ha=ha, label="column", **look)
    transform, va, ha = axis.get_yaxis_text1_transform(LABEL_PAD)
    for at in y if name_rows else ():
        name = _shown(one.names[at]) if one.names else str(at)
        axis.text(0, at, name, transform=transform, va=va, ha=ha, label="row", **look)


def _shown(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def cell_size(axis: Axes, cells: NDArray[Any]) -> tuple[float, float]:
    """The width and the height of a cell in inches."""
    return width_of(axis) / cells.shape[1], height_of(axis) / cells.shape[0]


def _write_values(axis: Axes, cells: NDArray[Any], scale: Scale) -> None:
    """The values in their cells, where these are large enough to be read."""
    width, height = cell_size(axis, cells)
    if width < VALUE_ROOM[0] or height < VALUE_ROOM[1]:
        return
    places = 2 if scale.high - scale.low > 0.2 else 3
    colours = matplotlib.colormaps[scale.colours]
    for row, column in np.argwhere(np.isfinite(cells)).tolist():
        value = cells[row, column]
        share = (value - scale.low) / (scale.high - scale.low)
        lightness = float(np.dot(colours(share)[:3], (0.299, 0.587, 0.114)))
        text = re.sub(r"^(-?)0\.", r"\1.", f"{value:.{places}f}").replace("-", "\N{MINUS SIGN}")
        colour = "black" if lightness > 0.5 else "white"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def _wrapped(note: str, width: float) -> str:
    return textwrap.fill(note, max(12, int(width / NOTE_CHARACTER)))


def _bar_above(figure: Figure, scale: Scale) -> None:
    """The shared colour scale, at the upper left."""
    width, height = figure.get_size_inches()
    share = min(1.5 / width, 0.28)
    axis = figure.add_axes((LEFT / width, 1 - 0.19 / height, share, 0.13 / height))
    ramp = np.linspace(scale.low, scale.high, 128)[None, :]
    extent = (scale.low, scale.high, 0, 1)
    axis.imshow(ramp, cmap=scale.colours, aspect="auto", extent=extent, interpolation="none")
    _bare(axis)
    axis.set_yticks([])
    axis.xaxis.set_major_locator(MaxNLocator(nbins=max(2, int(share * width / BAR_TICK) - 1)))
    axis.text(1.04, 0.5, scale.name, transform=axis.transAxes, va="center")


def _bar_beside(beside: Axes, scale: Scale) -> None:
    """The colour scale of a map or of a row of maps, at its right."""
    figure, box = beside.get_figure(), beside.get_position()
    assert figure is not None
    width = figure.get_figwidth()  # type: ignore[union-attr]
    axis = figure.add_axes((box.x1 + 0.07 / width, box.y0, 0.09 / width, box.height))
    ramp = np.linspace(scale.low, scale.high, 128)[:, None]
    extent = (0, 1, scale.low, scale.high)
    axis.imshow(ramp, cmap=scale.colours, aspect="auto", extent=extent, origin="lower", interpolation="none")
    _bare(axis)
    axis.set_xticks([])
    axis.yaxis.tick_right()
    axis.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axis.tick_params(labelsize=7)


def _bare(axis: Axes) -> None:
    axis.grid(False)
    axis.spines[:].set_visible(False)


def chunks(items: list[Item], columns: int) -> list[list[Item]]:
    """Rows of at most so many items, about equally long."""
    rows = -(-len(items) // columns)
    length = -(-len(items) // rows)
    return [items[at : at + length] for at in range(0, len(items), length)]
