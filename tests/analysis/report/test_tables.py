"""Tables: what is printed, what stands below it, and what the CSV keeps."""

import csv
from urllib.parse import unquote

import pandas as pd

from microtome.analysis.report.tables import Bound, as_table, away_from_zero, estimates

MEANS = pd.DataFrame(
    {
        "task": ["t", "t", "u"],
        "fraction": [0.0, 100.0, 100.0],
        "mean": [0.1, -0.25, 0.5],
        "low": [0.05, -0.5, float("nan")],
        "high": [0.2, -0.001, float("nan")],
        "deviation": [float("nan"), 0.125, 0.0625],
    }
)


def test_a_number_stands_above_its_interval_or_else_its_deviation():
    table = as_table(estimates(MEANS, ["task"], "fraction", [0.0, 100.0], "{:g} %".format), "id", "title")
    assert table.columns == ["task", "0 %", "100 %"]
    assert [[(cell.text, cell.note) for cell in row] for row in table.cells] == [
        [("t", ""), ("0.100", ".050 to .200"), ("−0.250", "−.500 to −.001")],
        [("u", ""), ("–", ""), ("0.500", "± .062")],
    ]


def test_the_csv_holds_what_is_printed_below():
    table = as_table(estimates(MEANS, ["task"], "fraction", [0.0, 100.0], "{:g} %".format), "id", "title")
    text = unquote(table.href.split(",", 1)[1])
    head, first, second = csv.reader(text.splitlines())
    assert head == ["task", "0 %", "0 % low", "0 % high", *(f"100 %{end}" for end in ENDS)]
    assert first == ["t", "0.1", "0.05", "0.2", "-0.25", "-0.5", "-0.001", "0.125"]
    assert second == ["u", "", "", "", "0.5", "", "", "0.0625"]


ENDS = ("", " low", " high", " deviation")


def test_differences_whose_interval_leaves_zero_out_stand_out():
    low, high = Bound("x", "low"), Bound("x", "high")
    frame = pd.DataFrame(
        {"x": [1.0, -1.0, 0.5], low: [0.5, -2.0, -0.1], high: [2.0, -0.5, 1.0], "y": [1.0, 1.0, 1.0]}
    )
    assert away_from_zero(frame, frame) == {(0, "x"): "sure", (1, "x"): "sure"}


def test_a_column_that_is_only_named_like_a_bound_is_a_column_of_its_own():
    table = as_table(pd.DataFrame({"bert": [0.5], "bert low": [0.25]}), "id", "title")
    assert table.columns == ["bert", "bert low"]
    assert [(cell.text, cell.note) for cell in table.cells[0]] == [("0.500", ""), ("0.250", "")]


def test_numbers_are_printed_as_they_can_be_read():
    frame = pd.DataFrame({"layer": [3.0], "value": [16927.114], "small": [-0.0001], "text": [""]})
    (row,) = as_table(frame, "id", "title").cells
    assert [cell.text for cell in row] == ["3", "16927.1", "0.000", "–"]
