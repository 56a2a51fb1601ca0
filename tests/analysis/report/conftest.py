"""Synthetic rows as a suite makes them, and what the tests ask of a page."""

from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from microtome.analysis.report.page import write_report
from microtome.analysis.report.sections.results import Results, read
from microtome.store.frames import tidy
from microtome.store.results import DERIVED_COLUMNS

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


def _written(rows: pd.DataFrame, out: Path, suite: str = "demo", **more: Any) -> str:
    known = {"description": "A test suite.", "provenance": {"version": "1.2.3"}}
    return write_report(rows, out, suite=suite, **known, **more).read_text("utf-8")


@pytest.fixture(scope="session")
def metrics() -> dict[str, tuple[str, ...]]:
    """The metrics of the synthetic tasks: of fine-tuning, and the primary one first."""
    return METRICS


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., list[dict[str, Any]]]:
    return synthetic_rows


@pytest.fixture(scope="session")
def written() -> Callable[..., str]:
    """Write a report and return its page."""
    return _written


@pytest.fixture(scope="session")
def outline() -> type[Outline]:
    return Outline


@pytest.fixture(scope="session")
def results() -> Callable[..., Results]:
    """The frames of a report, from rows built by hand: measured ones, and derived ones if there are any."""
    return lambda rows, derived=(): read(tidy(rows), tidy(derived, DERIVED_COLUMNS))
