"""The report page on synthetic rows."""

import csv
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import matplotlib
import numpy as np
import pandas as pd
import pytest

from analysis.report import write_report
from store.errors import InputError
from store.results import tidy

METRICS = {"ner": ("entity_f1", "token_macro_f1"), "text": ("accuracy", "macro_f1")}


def synthetic_rows(
    *,
    suite: str = "demo",
    shapes: dict[str, tuple[int, int]] | None = None,
    tasks: dict[str, str] | None = None,
    fractions: Sequence[int] = (0, 30, 100),
    seeds: Sequence[int] = (1,),
    adapt: bool = False,
) -> list[dict[str, Any]]:
    """Rows as a suite makes them. `shapes` is model -> (layers, heads), `tasks` task -> "ner" or "text"."""
    shapes = shapes or {"tiny-a": (4, 4), "tiny-b": (4, 4)}
    tasks = tasks or {"entities": "ner", "pairs": "text"}
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for place, (model, (layers, heads)) in enumerate(shapes.items()):
        for task, form in tasks.items():
            about = {"suite": suite, "task": task, "model": model}
            skill = 0.75 + 0.03 * place
            rows += _finetune(about, METRICS[form], fractions, seeds, skill, rng)
            rows += _probe(about, METRICS[form], fractions, seeds, layers, skill, rng)
            rows += _attention(about, [f for f in fractions if f], seeds, layers, heads, rng)
        if adapt:
            rows += _adapt({"suite": suite, "model": model}, place)
    return rows


def _finetune(
    about: dict[str, Any],
    metrics: Sequence[str],
    fractions: Sequence[int],
    seeds: Sequence[int],
    skill: float,
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    for fraction in fractions:
        for seed in seeds:
            at = {**about, "kind": "finetune", "fraction": fraction, "seed": seed, "n": 200}
            score = skill * (0.05 + 0.95 * (1 - np.exp(-fraction / 18))) + rng.normal(0, 0.008)
            for metric in metrics:
                for split in ("dev", "test"):
                    value = score + (0.01 if split == "dev" else 0)
                    artifact = f"finetune/{about['task']}.{about['model']}.f{fraction:03d}.s{seed}"
                    yield {**at, "split": split, "metric": metric, "value": value, "artifact": artifact}


def _probe(
    about: dict[str, Any],
    metrics: Sequence[str],
    fractions: Sequence[int],
    seeds: Sequence[int],
    layers: int,
    skill: float,
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    names = ("token_macro_f1", "token_micro_f1") if "entity_f1" in metrics else metrics
    for fraction in fractions:
        for seed in seeds if fraction else [None]:
            for layer in range(layers + 1):
                depth = layer / layers
                before = 0.45 + 0.35 * depth - 0.28 * depth**3
                value = before + skill * 0.35 * depth**2 * (fraction / 100) ** 0.4 + rng.normal(0, 0.006)
                for metric in names:
                    at = {**about, "kind": "probe", "fraction": fraction, "seed": seed, "layer": layer}
                    yield {
                        **at,
                        "probe": "linear",
                        "split": "test",
                        "metric": metric,
                        "value": value,
                        "n": 900,
                    }


def _attention(
    about: dict[str, Any],
    fractions: Sequence[int],
    seeds: Sequence[int],
    layers: int,
    heads: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    for fraction in fractions:
        for seed in seeds:
            for layer in range(layers):
                for head in range(heads):
                    change = (0.02 + 0.3 * ((layer + 1) / layers) ** 2 * fraction / 100) * rng.gamma(4, 0.25)
                    at = {**about, "kind": "attention", "fraction": fraction, "seed": seed, "layer": layer}
                    measures = {"jensen_shannon": change, "cosine": 1 - 0.8 * change, "cosine_std": 0.1}
                    for metric, value in measures.items():
                        yield {**at, "head": head, "metric": metric, "value": value, "n": 100}


def _adapt(about: dict[str, Any], place: int) -> Iterator[dict[str, Any]]:
    for stage, loss in (("before", 3.4 - 0.1 * place), ("after", 2.6 - 0.1 * place)):
        scores = {"loss": loss, "perplexity": float(np.exp(loss)), "token_accuracy": 1 - loss / 5}
        for metric, value in scores.items():
            yield {
                **about,
                "kind": "adapt",
                "split": "heldout",
                "stage": stage,
                "metric": metric,
                "value": value,
            }


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Two models, two tasks, three fractions, three seeds; every kind of row; in the store's own types."""
    return tidy(synthetic_rows(seeds=(1, 2, 3), adapt=True))


@pytest.fixture(scope="module")
def page(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(rows, tmp_path_factory.mktemp("report"))


def written(rows: pd.DataFrame, out: Path, suite: str = "demo") -> str:
    path = write_report(rows, out, suite=suite, description="A test suite.", provenance={"version": "1.2.3"})
    return path.read_text("utf-8")


class Outline(HTMLParser):
    """What the tests ask of a page: its tags in balance, ids, addresses, tables and text."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.tables: dict[str, list[list[str]]] = {}
        self.csv: dict[str, str] = {}
        self._table = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.tables.setdefault(self._table, []).append([])
        if tag in ("td", "th"):
            self.tables[self._table][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in ("src", "href", "xlink:href") if name in values]
        if "id" in values:
            self.ids.append(values["id"])
            if values["id"].startswith("table-"):
                self._table = values["id"]
        if values.get("class") == "csv":
            self.csv[self._table] = unquote(values["href"].split(",", 1)[1])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        # A note under a number (<small>) is no part of the cell's value.
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[self._table][-1][-1] += data.strip()

    def records(self, table: str) -> list[dict[str, str]]:
        """The body of a table as one dict per row, under its last header row."""
        lines = self.tables[table]
        head = next(at for at, line in enumerate(lines) if line[0] in ("task", "model", "kind"))
        return [dict(zip(lines[head], line, strict=True)) for line in lines[head + 1 :]]


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', page)


def test_every_kind_of_row_has_its_section_in_order(page: str) -> None:
    expected = ["glance", "scores", "probing", "attention", "adaptation", "measurements", "provenance"]
    assert sections(page) == expected
    assert "1.2.3" in page
    assert "finetune/pairs.tiny-b.f030.s2" in page


@pytest.mark.parametrize(
    ("kind", "section"),
    [("finetune", "scores"), ("probe", "probing"), ("attention", "attention"), ("adapt", "adaptation")],
)
def test_section_without_rows_is_left_out(
    rows: pd.DataFrame, tmp_path: Path, kind: str, section: str
) -> None:
    without = sections(written(rows[rows["kind"] != kind], tmp_path / "without"))
    alone = sections(written(rows[rows["kind"] == kind], tmp_path / "alone"))
    assert section not in without
    assert len(without) == 6
    assert section in alone
    assert len(alone) <= 4


def test_no_rows_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no results yet for suite 'paper'; run: microtome suite run paper"):
        written(tidy([]), tmp_path / "out", suite="paper")
    assert not (tmp_path / "out").exists()


def test_glance_quotes_test_means_gain_and_best_layers(rows: pd.DataFrame, page: str) -> None:
    records = Outline(page).records("table-glance")
    assert [(record["task"], record["model"]) for record in records] == [
        ("entities", "tiny-a"),
        ("entities", "tiny-b"),
        ("pairs", "tiny-a"),
        ("pairs", "tiny-b"),
    ]
    for record in records:
        metric, probe_metric = {"entities": METRICS["ner"], "pairs": ("accuracy", "accuracy")}[record["task"]]
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


def test_findings_name_the_best_model(rows: pd.DataFrame, page: str) -> None:
    chosen = rows[(rows["metric"] == "accuracy") & (rows["kind"] == "finetune") & (rows["split"] == "test")]
    means = chosen[chosen["fraction"] == 100].groupby("model")["value"].mean()
    said = (
        f"<b>{means.idxmax()}</b> reaches accuracy <b>{means.max():.3f}</b> with 100 % of the training data"
    )
    assert said in page
    assert f"{means.max() - means.min():.3f} ahead of {means.idxmin()}." in page


def test_page_is_balanced_and_its_ids_are_unique(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    referred = {address[1:] for address in outline.addresses if address.startswith("#")}
    referred |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert referred
    assert referred <= set(outline.ids)


def test_page_loads_nothing(page: str) -> None:
    outline = Outline(page)
    assert "script" not in outline.tags
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page


def test_same_rows_give_the_same_bytes_and_nothing_else_is_left(
    rows: pd.DataFrame, tmp_path: Path, page: str
) -> None:
    assert written(rows, tmp_path) == page
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_report_ignores_the_users_matplotlib_settings(rows: pd.DataFrame, tmp_path: Path, page: str) -> None:
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        assert written(rows, tmp_path) == page
        assert matplotlib.rcParams["font.size"] == 30


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    name = '<script>alert("$x$")</script>'
    rows = synthetic_rows(shapes={name: (2, 2), "b&b": (2, 2)}, tasks={"<i>task": "ner"})
    page = written(tidy(rows), tmp_path, suite="<b>suite")
    outline = Outline(page)
    assert outline.open == []
    assert not outline.tags & {"script", "i"}
    assert outline.records("table-glance")[0]["model"] == name
    assert "<h1>&lt;b&gt;suite</h1>" in page


def test_csv_holds_what_the_table_shows(page: str) -> None:
    outline = Outline(page)
    assert set(outline.csv) == set(outline.tables)
    assert len(outline.csv) == 8
    for table, text in outline.csv.items():
        head, *lines = csv.reader(text.splitlines())
        records = outline.records(table)
        assert [list(record) for record in records] == [head] * len(lines)
        for record, line in zip(records, lines, strict=True):
            for shown, kept in zip(record.values(), line, strict=True):
                assert same(shown, kept), (table, shown, kept)


def same(shown: str, kept: str) -> bool:
    """Whether a printed cell is the CSV cell, rounded to the three decimals that are printed."""
    if not re.fullmatch(r"−?\d+\.\d{3}", shown):
        return shown == (kept or "–")
    return abs(float(shown.replace("−", "-")) - float(kept)) < 0.00051


def test_seeds_show_as_deviation_and_band(rows: pd.DataFrame, page: str, tmp_path: Path) -> None:
    single = written(rows[rows["seed"].isna() | (rows["seed"] == 1)], tmp_path)
    chosen = rows[(rows["metric"] == "accuracy") & (rows["kind"] == "finetune") & (rows["split"] == "test")]
    one = chosen[(chosen["model"] == "tiny-a") & (chosen["fraction"] == 30)]["value"]
    assert f"<small>± {one.std():.3f}</small>" in page
    assert "<small>" not in single
    assert "fill-opacity: 0.18" in page
    assert "fill-opacity: 0.18" not in single


def test_curves_before_fine_tuning_are_dashed(page: str) -> None:
    assert "0 % (before fine-tuning)" in page
    assert "stroke-dasharray" in page


@pytest.mark.parametrize(
    "made",
    [
        {"fractions": (30,)},
        {"fractions": (0,)},
        {"shapes": {"only": (2, 3)}},
        {"shapes": {"only": (2, 3)}, "tasks": {"entities": "ner"}, "fractions": (100,)},
        {"shapes": {"small": (3, 2), "large": (6, 4)}},
        {"shapes": {f"model-{place}": (2, 2) for place in range(7)}},
    ],
    ids=["one-fraction", "only-the-floor", "one-model", "one-of-all", "unequal-models", "many-models"],
)
def test_unusual_suites(made: dict[str, Any], tmp_path: Path) -> None:
    page = written(tidy(synthetic_rows(**made)), tmp_path)
    assert Outline(page).open == []
    assert not re.search(r">[^<]*\b(nan|inf)\b", page, re.IGNORECASE)


def test_missing_cells_and_values_become_gaps(rows: pd.DataFrame, tmp_path: Path) -> None:
    lost = (rows["model"] == "tiny-b") & (rows["task"] == "pairs") & (rows["fraction"] == 100)
    holed = rows[~lost].reset_index(drop=True)
    holed.loc[holed["layer"] == 2, "value"] = float("nan")
    outline = Outline(written(holed, tmp_path))
    record = next(
        r for r in outline.records("table-glance") if (r["task"], r["model"]) == ("pairs", "tiny-b")
    )
    assert record["100 %"] == "–"
    assert record["gain"] == "–"
    assert record["30 %"] != "–"


def test_unknown_kinds_metrics_and_columns_are_listed_not_refused(rows: pd.DataFrame, tmp_path: Path) -> None:
    strange = pd.DataFrame({"kind": ["similarity"], "metric": ["cka"], "value": [0.25], "novel": ["x"]})
    outline = Outline(written(pd.concat([rows, strange]), tmp_path))
    listed = {record["kind"]: record for record in outline.records("table-measurements")}
    assert listed["similarity"]["metric"] == "cka"
    assert listed["similarity"]["mean"] == "0.250"


def test_rows_without_a_stage_column_still_show_adaptation(rows: pd.DataFrame, tmp_path: Path) -> None:
    adapted = rows[(rows["kind"] == "adapt") & (rows["stage"] == "after")].drop(columns="stage")
    records = Outline(written(adapted, tmp_path)).records("table-adaptation")
    assert records[0] == {"model": "tiny-a", "metric": "loss", "value": "2.600"}
