"""Names of figures, and their themes."""

from urllib.parse import unquote

import pytest
from matplotlib.figure import Figure

from microtome.analysis.report.canvas import (
    DARK,
    LIGHT,
    MODEL_COLOURS,
    NARROW,
    WIDE,
    Layout,
    model_look,
    panels,
    picture,
    set_x_label,
    short,
    slug,
    style,
)


def test_names_of_files_hold_nothing_but_letters_and_digits():
    assert slug("attention", "", "jensen_shannon") == "attention-jensen-shannon"
    assert slug("<i>../Aufgabe 1") == "i-aufgabe-1"


def test_every_colour_has_one_for_the_dark_theme():
    assert len(LIGHT) == len(DARK) == len(set(LIGHT))


def test_models_beyond_the_palette_are_still_told_apart():
    looks = [tuple(model_look(place).values()) for place in range(2 * len(MODEL_COLOURS))]
    assert len(set(looks)) == len(looks)


def test_long_names_are_cut_in_the_middle():
    assert short("abcdefghij", 5) == "ab…ij"
    assert short("abcde", 5) == "abcde"


@pytest.mark.parametrize(
    ("panels", "wide", "narrow"), [(1, 1, 1), (2, 2, 2), (4, 4, 2), (5, 3, 2), (7, 4, 2), (8, 4, 2)]
)
def test_panels_stand_in_rows_of_about_the_same_length(panels: int, wide: int, narrow: int):
    assert (WIDE.columns(panels), NARROW.columns(panels)) == (wide, narrow)


def test_three_panels_across_are_one_in_a_narrow_window():
    assert (WIDE.columns(5, most=3), NARROW.columns(5, most=3)) == (3, 1)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_panels_fill_the_width_of_the_page_however_many_they_are(layout: Layout, columns: int):
    figure, axes = panels(layout, 1, columns, height=1.0, right=0.12)
    right = max(axis.get_position().x1 for axis in axes.flat) * figure.get_figwidth()
    assert figure.get_figwidth() == layout.width
    assert right == pytest.approx(layout.width - 0.12)


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_a_long_name_below_a_panel_stays_on_the_page(layout: Layout):
    with style("one"):
        figure, axes = panels(layout, 1, layout.columns(3, most=3), height=1.0, bottom=0.65)
        set_x_label(axes[0, 0], "attention: Jensen\N{EN DASH}Shannon divergence, mean over layers")
        figure.draw_without_rendering()
        box = axes[0, 0].xaxis.label.get_window_extent()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_a_picture_is_drawn_for_a_wide_and_for_a_narrow_window():
    def draw(layout: Layout) -> Figure:
        figure, axes = panels(layout, 1, 1, height=1.0)
        axes[0, 0].plot([0, 1], color=MODEL_COLOURS[0])
        return figure

    made = picture(draw, "one")
    assert ('width="883"' in made.svg, 'width="346"' in made.narrow) == (True, True)
    file = unquote(made.href.partition(",")[2])
    assert MODEL_COLOURS[0] in file
    assert "var(" not in file
