"""The report page on synthetic rows."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest

from microtome.store.errors import InputError
from microtome.store.frames import tidy

Write = Callable[..., str]
Make = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def rows(make_rows: Make) -> pd.DataFrame:
    """Two models, two tasks, three fractions, three seeds; every kind of row; in the store's own types."""
    shapes = {"tiny-a": (3, 2), "tiny-b": (3, 2)}
    return tidy(make_rows(shapes=shapes, seeds=(1, 2, 3), adapt=True))


@pytest.fixture(scope="module")
def page(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, written: Write) -> str:
    return written(rows, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def few(make_rows: Make) -> pd.DataFrame:
    """The same kinds of rows, as few as will do."""
    return tidy(make_rows(shapes={"tiny-a": (2, 2), "tiny-b": (2, 2)}, tasks={"entities": "ner"}, adapt=True))


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', page)


def test_every_kind_of_row_has_its_section_in_order(page: str) -> None:
    expected = ["summary", "scores", "probing", "attention", "correlation", "adaptation", "measurements"]
    assert sections(page) == [*expected, "provenance"]
    assert "1.2.3" in page
    assert "finetune/pairs.tiny-b.f030.s2" in page


@pytest.mark.parametrize(
    ("kind", "section"),
    [("finetune", "scores"), ("probe", "probing"), ("attention", "attention"), ("adapt", "adaptation")],
)
def test_section_without_rows_is_left_out(
    few: pd.DataFrame, tmp_path: Path, kind: str, section: str, written: Write
) -> None:
    without = sections(written(few[few["kind"] != kind], tmp_path / "without"))
    alone = sections(written(few[few["kind"] == kind], tmp_path / "alone"))
    assert section not in without
    assert section in alone
    assert set(alone) <= {"summary", section, "measurements", "provenance"}
    assert {"measurements", "provenance"} <= set(without)


def test_no_rows_says_how_to_get_some(tmp_path: Path, written: Write) -> None:
    with pytest.raises(InputError, match=r"no results yet for suite 'paper'; run: microtome suite run paper"):
        written(tidy([]), tmp_path / "out", suite="paper")
    assert not (tmp_path / "out").exists()


def test_a_page_that_is_no_report_is_not_replaced(few: pd.DataFrame, tmp_path: Path, written: Write) -> None:
    page = tmp_path / "index.html"
    page.write_text("<html>my own site, about microtome</html>")
    with pytest.raises(InputError, match="no report of microtome and is left alone"):
        written(few, tmp_path, figures="svg")
    assert page.read_text() == "<html>my own site, about microtome</html>"
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    page.unlink()
    assert written(few, tmp_path) == written(few, tmp_path)  # a report is


def test_the_summary_quotes_test_means_gain_and_best_layers(
    rows: pd.DataFrame, page: str, outline: type, metrics: dict[str, Any]
) -> None:
    records = outline(page).records("table-summary")
    assert [(record["task"], record["model"]) for record in records] == [
        ("entities", "tiny-a"),
        ("entities", "tiny-b"),
        ("pairs", "tiny-a"),
        ("pairs", "tiny-b"),
    ]
    for record in records:
        metric, probe_metric = {"entities": metrics["ner"], "pairs": ("accuracy", "accuracy")}[record["task"]]
        mine = rows[(rows["task"] == record["task"]) & (rows["model"] == record["model"])]
        scores = mine[(mine["kind"] == "finetune") & (mine["split"] == "test") & (mine["metric"] == metric)]
        means = scores.groupby("fraction")["value"].mean()
        assert [record[f"{share} %"] for share in (0, 30, 100)] == [f"{means[f]:.3f}" for f in (0, 30, 100)]
        assert record["gain"] == f"{means[100] - means[0]:.3f}"
        probes = mine[(mine["kind"] == "probe") & (mine["metric"] == probe_metric)]
        for fraction, stage in ((0, "before"), (100, "after")):
            layers = probes[probes["fraction"] == fraction].groupby("layer")["value"].mean()
            assert record[f"layer {stage}"] == str(layers.idxmax())
            assert record[f"score {stage}"] == f"{layers.max():.3f}"


def test_without_a_comparison_no_model_is_called_best(rows: pd.DataFrame, page: str) -> None:
    chosen = rows[(rows["metric"] == "accuracy") & (rows["kind"] == "finetune") & (rows["split"] == "test")]
    means = chosen[chosen["fraction"] == 100].groupby("model")["value"].mean()
    said = (
        f"With 100 % of the training data accuracy is {means.idxmax()} <b>{means.max():.3f}</b>, "
        f"{means.idxmin()} <b>{means.min():.3f}</b> (not compared)."
    )
    assert said in page


def test_page_is_balanced_and_its_ids_are_unique(page: str, outline: type) -> None:
    found = outline(page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    referred = {address[1:] for address in found.addresses if address.startswith("#")}
    referred |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert referred
    assert referred <= set(found.ids)


def test_page_loads_nothing(page: str, outline: type) -> None:
    found = outline(page)
    assert "script" not in found.tags
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    outside_of_files = re.sub(r'href="data:[^"]*"', "", page)  # an SVG file names its namespace
    assert "http://" not in outside_of_files
    assert "https://" not in outside_of_files
    assert "@import" not in page


def test_same_rows_give_the_same_bytes_and_nothing_else_is_left(
    rows: pd.DataFrame, tmp_path: Path, page: str, written: Write
) -> None:
    assert written(rows, tmp_path) == page
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_report_ignores_the_users_matplotlib_settings(
    rows: pd.DataFrame, tmp_path: Path, page: str, written: Write
) -> None:
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        assert written(rows, tmp_path) == page
        assert matplotlib.rcParams["font.size"] == 30


def test_hostile_names_are_shown_as_text(
    tmp_path: Path, written: Write, outline: type, make_rows: Make
) -> None:
    name = '<script>alert("$x$")</script>'
    rows = make_rows(shapes={name: (2, 2), "b&b": (2, 2)}, tasks={"<i>task": "ner"})
    page = written(tidy(rows), tmp_path, suite="<b>suite")
    found = outline(page)
    assert found.open == []
    assert not found.tags & {"script", "i"}
    assert found.records("table-summary")[0]["model"] == name
    assert "<h1>&lt;b&gt;suite</h1>" in page


def test_csv_holds_what_the_table_shows_and_what_stands_below(page: str, outline: type) -> None:
    found = outline(page)
    assert set(found.csv) == set(found.tables)
    assert len(found.csv) == 11
    for table, text in found.csv.items():
        head, *lines = csv.reader(text.splitlines())
        records = found.records(table)
        assert set(records[0]) <= set(head)
        assert all(name.endswith((" low", " high", " deviation")) for name in set(head) - set(records[0]))
        for record, line in zip(records, lines, strict=True):
            kept = dict(zip(head, line, strict=True))
            for name, shown in record.items():
                assert same(shown, kept[name]), (table, name, shown, kept[name])


def same(shown: str, kept: str) -> bool:
    """Whether a printed cell is the CSV cell, rounded to the decimals that are printed."""
    decimals = re.fullmatch(r"−?\d+\.(\d+)", shown)
    if not decimals or not re.fullmatch(r"-?[\d.e+-]+", kept):
        return shown == (kept or "–")
    return abs(float(shown.replace("−", "-")) - float(kept)) < 0.51 * 10 ** -len(decimals[1])


def test_seeds_show_as_deviation_and_band(
    rows: pd.DataFrame, page: str, tmp_path: Path, written: Write
) -> None:
    single = written(rows[(rows["kind"] == "finetune") & (rows["seed"] == 1)], tmp_path)
    chosen = rows[(rows["metric"] == "accuracy") & (rows["kind"] == "finetune") & (rows["split"] == "test")]
    one = chosen[(chosen["model"] == "tiny-a") & (chosen["fraction"] == 30)]["value"]
    assert f"<small>± {one.std():.3f}</small>".replace("± 0.", "± .") in page
    assert "<small>±" not in single
    assert "fill-opacity:0.15" in page
    assert "fill-opacity:0.15" not in single


def test_curves_before_fine_tuning_are_dashed(page: str) -> None:
    assert "0 % (before fine-tuning)" in page
    assert "stroke-dasharray" in page


@pytest.mark.parametrize(
    "made",
    [
        pytest.param({"fractions": (30,)}, marks=pytest.mark.thorough),
        {"fractions": (0,)},
        pytest.param({"shapes": {"only": (2, 3)}}, marks=pytest.mark.thorough),
        {"shapes": {"only": (2, 3)}, "tasks": {"entities": "ner"}, "fractions": (100,)},
        {"shapes": {"small": (3, 2), "large": (6, 4)}},
        pytest.param(
            {"shapes": {f"model-{place}": (2, 2) for place in range(7)}, "tasks": {"entities": "ner"}},
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["one-fraction", "only-the-floor", "one-model", "one-of-all", "unequal-models", "many-models"],
)
def test_unusual_suites(
    made: dict[str, Any], tmp_path: Path, written: Write, outline: type, make_rows: Make
) -> None:
    page = written(tidy(make_rows(**made)), tmp_path)
    assert outline(page).open == []
    assert not re.search(r">[^<]*\b(nan|inf)\b", page, re.IGNORECASE)


def test_missing_cells_and_values_become_gaps(
    rows: pd.DataFrame, tmp_path: Path, written: Write, outline: type
) -> None:
    lost = (rows["model"] == "tiny-b") & (rows["task"] == "pairs") & (rows["fraction"] == 100)
    holed = rows[~lost & rows["kind"].isin(["finetune", "probe"])].reset_index(drop=True)
    holed.loc[holed["layer"] == 2, "value"] = float("nan")
    found = outline(written(holed, tmp_path))
    record = next(r for r in found.records("table-summary") if (r["task"], r["model"]) == ("pairs", "tiny-b"))
    assert record["100 %"] == "–"
    assert record["gain"] == "–"
    assert record["30 %"] != "–"


def test_unknown_kinds_metrics_and_columns_are_listed_not_refused(
    few: pd.DataFrame, tmp_path: Path, written: Write, outline: type
) -> None:
    strange = pd.DataFrame({"kind": ["novelty"], "metric": ["cka"], "value": [0.25], "novel": ["x"]})
    found = outline(written(pd.concat([few, strange]), tmp_path))
    listed = {record["kind"]: record for record in found.records("table-measurements")}
    assert listed["novelty"]["metric"] == "cka"
    assert listed["novelty"]["mean"] == "0.250"


def test_rows_without_a_stage_column_still_show_adaptation(
    few: pd.DataFrame, tmp_path: Path, written: Write, outline: type
) -> None:
    adapted = few[(few["kind"] == "adapt") & (few["stage"] == "after")].drop(columns="stage")
    records = outline(written(adapted, tmp_path)).records("table-adaptation")
    assert records[0] == {"model": "tiny-a", "metric": "loss", "value": "2.600"}


def test_costs_are_printed_for_people_and_kept_exact(
    few: pd.DataFrame, tmp_path: Path, written: Write, outline: type
) -> None:
    costs = pd.DataFrame(
        {
            "kind": ["extract", "probe"],
            "jobs": [3, 5],
            "seconds": [5400.0, 30.0],
            "bytes": [2_500_000_000, 900],
        }
    )
    found = outline(written(few[few["kind"] == "adapt"], tmp_path, costs=costs))
    assert [list(record.values()) for record in found.records("table-costs")] == [
        ["extract", "3", "1.5 h", "2.5 GB"],
        ["probe", "5", "30.0 s", "900 Bytes"],
        ["all", "8", "1.5 h", "2.5 GB"],
    ]
    assert "extract,3,5400,2500000000" in found.csv["table-costs"]


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("pdf", b"%PDF-"),
        pytest.param("svg", b"<?xml", marks=pytest.mark.thorough),
        pytest.param("png", b"\x89PNG", marks=pytest.mark.thorough),
    ],
)
def test_every_figure_is_written_as_a_file_too(
    few: pd.DataFrame, tmp_path: Path, written: Write, form: str, begins: bytes
) -> None:
    few = few[few["kind"].isin(["finetune", "attention"]) & (few["metric"] != "cosine")]
    page = written(few, tmp_path, figures=form)
    files = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    names = ("attention-jensen-shannon-1-entities", "correlation", "learning-curves")
    assert sorted(files) == [f"{name}.{form}" for name in names]
    assert all(content.startswith(begins) for content in files.values())
    assert page.count('<svg role="img"') == 2 * len(files)  # a wide and a narrow drawing
    assert written(few, tmp_path, figures=form) == page
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}


def test_long_tables_are_printed_in_part_and_kept_whole(
    tmp_path: Path, written: Write, outline: type, make_rows: Make
) -> None:
    rows = make_rows(shapes={"deep": (110, 1)}, fractions=(0, 100))
    page = written(tidy([row for row in rows if row["kind"] == "attention"]), tmp_path)
    found = outline(page)
    assert "The first 200 of 220 rows; all are in the CSV." in page
    assert len(found.records("table-attention-jensen-shannon")) == 200
    assert len(found.csv["table-attention-jensen-shannon"].splitlines()) == 221
