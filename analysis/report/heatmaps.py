"""Heat maps: grids of cells on one colour scale, as the attention and the similarity sections draw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from microtome.analysis.report.canvas import EMPTY, MUTED, hide, panels, short

MAX_COLUMNS = 4
RING = "#e8000b"
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
    column) to point out, `note` a line between title and map."""

    title: str
    cells: NDArray[Any]
    note: str = ""
    ring: tuple[int, int] | None = None
    scale: Scale | None = None  # where it is not that of the whole grid


def cell_matrix(part: pd.DataFrame, row: str, column: str) -> NDArray[Any]:
    """The means of a frame by two columns of whole numbers from 0."""
    cells = np.full((int(part[row].max()) + 1, int(part[column].max()) + 1), np.nan)
    cells[part[row].astype(int), part[column].astype(int)] = part["mean"]
    return cells


def map_grid(
    grid: Sequence[Sequence[HeatMap]],
    scale: Scale | None,
    *,
    height: float,
    labels: tuple[str, str],
    widest: float = 3.4,
) -> Figure:
    """Rows of maps with one colour bar; `labels` are those of the upward and the rightward axis."""
    columns = max(len(row) for row in grid)
    noted = any(one.note for row in grid for one in row)
    top = (0.5 if scale else 0.18) + (0.42 if noted else 0.24)
    figure, axes = panels(
        len(grid),
        columns,
        height=height,
        widest=widest,
        left=0.45,
        top=top,
        gap_x=0.34,
        gap_y=0.6 if noted else 0.42,
    )
    for line, maps in zip(axes, grid, strict=True):
        for axis, one in zip(line, maps, strict=False):
            _draw(axis, one, one.scale or scale)
        hide(line[len(maps) :])
        line[0].set_ylabel(labels[0])
    for column in range(columns):
        lowest = axes[[len(maps) > column for maps in grid], column][-1]
        lowest.set_xlabel(labels[1])
    if scale:
        _colour_bar(figure, scale)
    return figure


def _draw(axis: Axes, one: HeatMap, scale: Scale | None) -> None:
    """One map; gaps stay grey."""
    axis.set_title(short(one.title, 26), pad=14 if one.note else 4)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    if not one.cells.size or scale is None:
        axis.set(xticks=[], yticks=[])
        axis.text(0.5, 0.5, "no result", color=MUTED, ha="center", va="center", transform=axis.transAxes)
        return
    axis.set_facecolor(EMPTY)
    axis.imshow(
        one.cells,
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        origin="lower",
        aspect="auto",
        interpolation="none",
    )
    if one.ring is not None:
        for colour, width in (("white", 2.4), (RING, 1.1)):
            axis.plot([one.ring[1]], [one.ring[0]], "o", markersize=6, mfc="none", mec=colour, mew=width)
    axis.text(0, 1.04, one.note, transform=axis.transAxes, fontsize=7.2, color=MUTED)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))


def _colour_bar(figure: Figure, scale: Scale) -> None:
    """The shared colour scale, at the upper left."""
    width, height = figure.get_size_inches()
    axis = figure.add_axes((0.45 / width, 1 - 0.19 / height, 1.6 / width, 0.13 / height))
    ramp = np.linspace(scale.low, scale.high, 128)[None, :]
    extent = (scale.low, scale.high, 0, 1)
    axis.imshow(ramp, cmap=scale.colours, aspect="auto", extent=extent, interpolation="none")
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.set_yticks([])
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axis.text(1.04, 0.5, scale.name, transform=axis.transAxes, va="center")


def chunks(items: list[Item]) -> list[list[Item]]:
    """Rows of at most MAX_COLUMNS items."""
    return [items[at : at + MAX_COLUMNS] for at in range(0, len(items), MAX_COLUMNS)]
