"""Heat maps: labels that can be read, values in their cells, colour bars."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from microtome.analysis.report.canvas import NARROW, WIDE, Layout, style
from microtome.analysis.report.heatmaps import HeatMap, Scale, cell_size, chunks, map_grid, map_height

SCALE = Scale("change", "viridis", 0, 1)


def drawn(layout: Layout, cells: np.ndarray, **more):
    with style("maps"):
        height = map_height(cells.shape[0])
        return map_grid(
            layout, [[HeatMap("one", cells, **more)]], SCALE, height=height, labels=("head", "layer")
        )


def labels_of(axis: Axes, what: str) -> list[Text]:
    return [text for text in axis.texts if text.get_label() == what]


@pytest.mark.parametrize("heads", [4, 12, 16])
@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_every_head_has_a_label_and_room_for_it(layout: Layout, heads: int):
    cells = np.zeros((heads, 12))
    axis = drawn(layout, cells).axes[0]
    labels = labels_of(axis, "row")
    assert [label.get_text() for label in labels] == [str(head) for head in range(heads)]
    assert cell_size(axis, cells)[1] * 72 >= labels[0].get_fontsize()


def test_many_heads_are_labelled_as_far_as_there_is_room():
    labels = labels_of(drawn(WIDE, np.zeros((64, 12))).axes[0], "row")
    assert 8 <= len(labels) < 64


def test_values_stand_in_cells_that_are_large_enough():
    texts = [text.get_text() for text in drawn(WIDE, np.array([[0.25, np.nan], [-0.5, 1]])).axes[0].texts]
    assert {".25", "\N{MINUS SIGN}.50", "1.00"} <= set(texts)
    small = [text.get_text() for text in drawn(NARROW, np.full((4, 24), 0.25)).axes[0].texts]
    assert ".25" not in small


@pytest.mark.parametrize("scale", [SCALE, None])
def test_every_map_has_a_colour_bar(scale: Scale | None):
    own = [Scale("a", "RdBu_r", -1, 1), Scale("b", "RdBu_r", -2, 2)]
    maps = [HeatMap(one.name, np.zeros((2, 2)), scale=None if scale else one) for one in own]
    with style("maps"):
        figure = map_grid(WIDE, [maps], scale, height=1.0, labels=("head", "layer"))
    assert len(figure.axes) == (3 if scale else 4)


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_numbers_of_a_colour_bar_beside_a_map_stay_on_the_page(layout: Layout):
    one = HeatMap("one", np.zeros((2, 2)), scale=Scale("a", "RdBu_r", -0.0085, 0.0085))
    with style("maps"):
        figure = map_grid(layout, [[one]], None, height=1.0, labels=("head", "layer"))
        figure.draw_without_rendering()
        boxes = [tick.get_window_extent() for tick in figure.axes[-1].get_yticklabels()]
    wider = 1.12  # a page may show the text in a wider font
    assert all(box.x0 + wider * box.width < figure.bbox.x1 for box in boxes)


def test_rows_of_maps_are_about_equally_long():
    assert chunks([1, 2, 3, 4, 5], 4) == [[1, 2, 3], [4, 5]]
    assert chunks([1, 2, 3, 4, 5, 6, 7], 4) == [[1, 2, 3, 4], [5, 6, 7]]


@pytest.mark.parametrize("names", [("entailment", "neutral", "contradiction"), ("a", "b" * 60, "c")])
@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_no_name_of_a_class_lies_on_another_map_or_beyond_the_page(layout: Layout, names: tuple[str, ...]):
    maps = [HeatMap(f"model {n}", np.eye(3), names=names) for n in range(4)]
    with style("maps"):
        figure = map_grid(
            layout, chunks(maps, layout.most_columns), SCALE, height=1.2, labels=("gold", "predicted")
        )
        figure.draw_without_rendering()
        boxes = [axis.get_window_extent() for axis in figure.axes]
        for axis in figure.axes:
            for label in labels_of(axis, "row"):
                box = label.get_window_extent()
                assert box.x0 >= 0
                assert not any(box.overlaps(other) for other in boxes), label.get_text()


def test_the_ticks_of_the_colour_bar_do_not_meet():
    with style("maps"):
        figure = map_grid(
            NARROW, [[HeatMap("one", np.eye(2))]], Scale("s", "Blues", 0, 1), height=1.2, labels=("a", "b")
        )
        figure.draw_without_rendering()
        boxes = [tick.get_window_extent() for tick in figure.axes[-1].get_xticklabels() if tick.get_text()]
    between = 0.06 * figure.dpi  # a page may show the text in a wider font
    assert all(left.x1 + between < right.x0 for left, right in pairwise(boxes))
