"""What every figure shares: theme, panel grid, looks, legend, and the way to SVG text or a file."""

import gc
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from microtome.analysis.report.frames import spread
from microtome.analysis.report.svg import compact_svg, svg_address
from microtome.store.files.outputs import whole_file

INK, MUTED, GRID, EMPTY = "#1d232b", "#5f6975", "#e3e6ea", "#f1f3f5"
# Okabe and Ito's colours, without the yellow and the black, which vanish on one of the two themes.
MODEL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MODEL_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
# Less to more training data: steps of lightness, away from the background.
FRACTION_COLOURS = ("#fca636", "#eb7556", "#ce4b75", "#a72197", "#7401a8", "#38049a")

LIGHT = (INK, MUTED, GRID, EMPTY, *MODEL_COLOURS, *FRACTION_COLOURS)
DARK = (
    *("#e8ebef", "#9aa5b1", "#333b46", "#262c35"),
    *("#4ba3e3", "#f0813a", "#2fc497", "#e094c1", "#f0b740", "#8fd0f5"),
    *("#b04bd0", "#d3558f", "#e8706a", "#f5924a", "#fdb941", "#f9ec5b"),
)

LEGEND_HANDLE, LEGEND_CHARACTER = 0.5, 0.066  # inches that a name in a legend takes: its sign, each character
TITLE_CHARACTER, NAME_CHARACTER = 0.085, 0.07
LEGEND_LINE = 0.2
LONGEST_NAME = 26  # characters of a name in a legend
DPI = 200  # of figures as PNG files

WIDEST_PANEL = 3.2  # times its height; a wider one is made higher

Form = Literal["pdf", "svg", "png"]
# What would differ from run to run, or say no more than which library drew.
OMITTED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it is anyway; left to itself, matplotlib measures all ticks to find that out
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
}


@dataclass(frozen=True)
class Layout:
    """The width of a figure in inches, and how many panels stand side by side at most."""

    width: float
    most_columns: int

    def columns(self, panels: int, most: int = 4) -> int:
        """How many of several panels stand side by side, so that the rows are about equally long; `most` is
        that of the wide layout."""
        most = max(1, min(most * self.most_columns // WIDE.most_columns, panels))
        rows = -(-panels // most)
        return -(-panels // rows)


WIDE = Layout(9.2, 4)  # at 96 pixels an inch this is the width of the text column
NARROW = Layout(3.6, 2)  # of a telephone
Draw = Callable[[Layout], Figure]


@dataclass(frozen=True)
class Picture:
    """One drawing of a figure as SVG (see svg.py), with the line above it (a task, or nothing).

    `ident` is its name as a file; `narrow` is the same for a narrow window. Of pictures with a `step`, the
    reader may choose to see one step alone.
    """

    ident: str
    heading: str
    svg: str
    narrow: str
    draw: Draw
    step: str = ""

    @property
    def href(self) -> Markup:
        """The SVG file as a data: address."""
        return svg_address(self.svg)


@contextmanager
def style(ident: str) -> Iterator[None]:
    """Draw in the report's own style, whatever the user's matplotlibrc says, with repeatable ids."""
    # In this order: a style refuses to set the salt, and resets everything else.
    with matplotlib.rc_context(), matplotlib.style.context(["default", STYLE]):
        matplotlib.rcParams["svg.hashsalt"] = ident
        yield


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Garbage is left alone while a figure is drawn: matplotlib makes so many objects that looking through
    all that there are, again and again, would take a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def panels(
    layout: Layout,
    rows: int,
    columns: int,
    *,
    height: float,
    left: float = 0.62,
    right: float = 0.12,
    top: float = 0.6,
    bottom: float = 0.5,
    names: Iterable[str] = (),
    gap_x: float = 0.62,
    gap_y: float = 0.62,
    exact: bool = False,
) -> tuple[Figure, NDArray[Any]]:
    """A grid of panels over the whole width, `height` high, or more where they are wide and not `exact`;
    every length is in inches.

    The space above grows where a legend of `names` takes more than one line.
    """
    across = layout.width
    width = (across - left - right - gap_x * (columns - 1)) / columns
    height = height if exact else max(height, width / WIDEST_PANEL)
    names = [short(name, LONGEST_NAME) for name in names]
    top += LEGEND_LINE * (max(len(names) - 1, 0) // _legend_columns(across, names))
    down = top + rows * height + (rows - 1) * gap_y + bottom
    figure = Figure(figsize=(across, down))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=left / across,
        right=1 - right / across,
        top=1 - top / down,
        bottom=bottom / down,
        wspace=gap_x / width,
        hspace=gap_y / height,
    )
    return figure, axes


def hide(axes: Iterable[Axes]) -> None:
    """Take the panels out that nothing is drawn in."""
    for axis in axes:
        axis.set_visible(False)


def legend(figure: Figure, lines: Mapping[str, Line2D]) -> None:
    """One legend for all panels, along the upper edge."""
    names = [short(name, LONGEST_NAME) for name in lines]
    figure.legend(
        list(lines.values()),
        names,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        ncols=_legend_columns(figure.get_figwidth(), names),
        borderpad=0,
        borderaxespad=0.1,
        columnspacing=1.8,
    )


def _legend_columns(across: float, names: Sequence[str]) -> int:
    longest = max(map(len, names), default=0)
    return max(1, int(across / (LEGEND_HANDLE + LEGEND_CHARACTER * longest)))


def title(axis: Axes, text: str, **more: Any) -> None:
    """A title above a panel, cut to its width."""
    axis.set_title(short(text, max(8, int(width_of(axis) / TITLE_CHARACTER))), **more)


def set_x_label(axis: Axes, text: str) -> None:
    """What a panel shows from left to right, in as many lines as fit below it."""
    axis.set_xlabel(textwrap.fill(text, max(12, int(width_of(axis) / NAME_CHARACTER))))


def width_of(axis: Axes) -> float:
    """The width of a panel in inches."""
    figure = axis.get_figure()
    assert figure is not None
    return float(axis.get_position().width * figure.get_figwidth())  # type: ignore[union-attr]


def height_of(axis: Axes) -> float:
    """The height of a panel in inches."""
    figure = axis.get_figure()
    assert figure is not None
    return float(axis.get_position().height * figure.get_figheight())  # type: ignore[union-attr]


def short(name: str, longest: int) -> str:
    """A name cut in its middle to at most `longest` characters."""
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[: longest - 1 - half]}…{name[len(name) - half :]}"


def slug(*parts: str) -> str:
    """A name for files and ids out of names that may hold anything."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")


def model_look(place: int) -> dict[str, Any]:
    """Colour and marker of the model at this place; line styles tell apart the rounds of the palette."""
    return {
        "color": MODEL_COLOURS[place % len(MODEL_COLOURS)],
        "marker": MODEL_MARKERS[place % len(MODEL_MARKERS)],
        "linestyle": ("-", "--", ":")[place // len(MODEL_COLOURS) % 3],
    }


def fraction_look(fraction: float, fractions: Sequence[float]) -> dict[str, Any]:
    """Dark dashes before fine-tuning; after it, the further along the colour ramp the more data."""
    if fraction == 0:
        return {"color": INK, "linestyle": (0, (3, 2)), "linewidth": 1.4}
    tuned = [other for other in fractions if other > 0]
    place = (tuned.index(fraction) + 1) / len(tuned) * (len(FRACTION_COLOURS) - 1)
    return {"color": FRACTION_COLOURS[round(place)]}


def curve(axis: Axes, line: pd.DataFrame, x: str, look: Mapping[str, Any], *, band: float = 0.18) -> Line2D:
    """The means of a frame as a line, and behind it a band of their `spread`, where that is known."""
    line = line.sort_values(x)
    low, high = spread(line)
    if np.isfinite(low).any():
        axis.fill_between(line[x], low, high, color=look["color"], alpha=band, linewidth=0)
    return axis.plot(line[x], line["mean"], **look)[0]


def picture(draw: Draw, ident: str, heading: str = "", step: str = "") -> Picture:
    """What `draw` makes of the wide and of the narrow layout, in the report's own style."""
    with style(ident), no_garbage_collection():
        return Picture(ident, heading, compact_svg(draw(WIDE)), compact_svg(draw(NARROW)), draw, step)


def save(picture: Picture, folder: Path, form: Form) -> None:
    """Write a picture as `folder/<ident>.<form>`, on white, the same bytes for the same picture."""
    with style(picture.ident), whole_file(folder / f"{picture.ident}.{form}") as staged:
        picture.draw(WIDE).savefig(staged, format=form, dpi=DPI, facecolor="white", metadata=OMITTED[form])


def theme(colours: Iterable[str]) -> str:
    """The declarations of the figure colours, as CSS custom properties."""
    return " ".join(f"{_property(light)}: {colour};" for light, colour in zip(LIGHT, colours, strict=True))


def themed(colour: str) -> str:
    """A colour of the light theme as a custom property that the dark theme sets anew."""
    return f"var({_property(colour)},{colour})" if colour in LIGHT else colour


def _property(colour: str) -> str:
    return f"--figure-{colour[1:]}"
