"""From tidy result rows to the frames behind the figures, and from a frame to a table on the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import pandas as pd

from analysis.metrics import PRIMARY

PROBE_METRICS = ("token_macro_f1", "accuracy", "macro_f1", "pearson", "micro_f1", "example_f1")
ATTENTION_MEASURES = ("jensen_shannon", "cosine")

METRIC_NAMES = {
    "entity_f1": "entity F1",
    "entity_f1_untyped": "entity F1, untyped",
    "token_macro_f1": "token macro F1",
    "token_micro_f1": "token micro F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "example_f1": "example F1",
    "jensen_shannon": "Jensen–Shannon divergence",
    "cosine": "cosine similarity",
}

TEXTS = ("kind", "task", "model", "split", "stage", "probe", "label", "metric", "artifact")
NUMBERS = ("fraction", "seed", "layer", "head", "value", "n")
WHOLE = ["fraction", "layer", "layer before", "layer after", "seeds", "n", "rows"]
ITEM = ["task", "model"]
MISSING = "–"


def plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with every known column as text (missing = "") or float64 (missing = NaN).

    Infinite values count as missing, and rows without a value are dropped: neither can be drawn.
    """
    frame = pd.DataFrame(index=pd.RangeIndex(len(rows)))
    for name in TEXTS:
        column = rows[name] if name in rows else pd.Series([None] * len(rows), dtype=object)
        frame[name] = [str(cell) if pd.notna(cell) else "" for cell in column]
    for name in NUMBERS:
        column = rows[name] if name in rows else pd.Series([None] * len(rows), dtype=object)
        frame[name] = pd.to_numeric(column, errors="coerce").astype("float64").to_numpy()
    return frame.loc[np.isfinite(frame["value"])].reset_index(drop=True)


def in_order(column: pd.Series) -> list[str]:
    """Distinct non-empty texts in the order of their first appearance."""
    return [text for text in dict.fromkeys(column) if text]


def numbers(column: pd.Series) -> list[float]:
    """Distinct present numbers, ascending."""
    return sorted({float(number) for number in column.dropna()})


def metric_name(metric: str) -> str:
    """A metric as it is written in running text."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def percent(fraction: float) -> str:
    """A fraction of the training data, given in per cent, as text."""
    return f"{fraction:g} %"


def first_metric(rows: pd.DataFrame, preferred: Sequence[str]) -> str:
    """The first of `preferred` that the rows have; failing that, the first they have at all."""
    present = in_order(rows["metric"])
    return next((metric for metric in preferred if metric in present), present[0])


def _first_split(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the split that a result is quoted on: the test or held-out part where there is one."""
    present = list(dict.fromkeys(rows["split"]))
    split = next((name for name in ("test", "heldout") if name in present), present[0])
    return rows[rows["split"] == split]


def over_seeds(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """One row per `keys`: mean, standard deviation and range over seeds, number of seeds and of items n.

    Texts are in the order of their first appearance, numbers ascending, the first key slowest.
    """
    grouped = rows.groupby(list(keys), sort=False, dropna=False)
    frame = grouped.agg(
        mean=("value", "mean"),
        deviation=("value", "std"),
        low=("value", "min"),
        high=("value", "max"),
        seeds=("seed", "nunique"),
        n=("n", "max"),
    )
    frame = frame.reset_index().assign(seeds=lambda table: table["seeds"].clip(lower=1))
    return frame.sort_values(list(keys), key=_rank, ignore_index=True)


def _rank(column: pd.Series) -> pd.Series:
    """What to sort a column by: itself, or for text the place of its first appearance."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    places = {text: place for place, text in enumerate(dict.fromkeys(column))}
    return column.map(places)


def downstream_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Every fine-tuning metric on the quoted split, by task, model, fraction (%) and metric."""
    chosen = rows[(rows["kind"] == "finetune") & rows["fraction"].notna() & (rows["label"] == "")]
    parts = [_first_split(part) for _, part in chosen.groupby("task", sort=False)]
    return over_seeds(_joined(parts, chosen), [*ITEM, "fraction", "metric"])


def primary_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of each task's primary metric alone."""
    parts = [
        part[part["metric"] == first_metric(part, PRIMARY)] for _, part in scores.groupby("task", sort=False)
    ]
    return _joined(parts, scores)


def probe_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Primary probe metric by probe, task, model, fraction (%; 0 = before fine-tuning) and layer."""
    chosen = rows[(rows["kind"] == "probe") & rows["layer"].notna() & rows["fraction"].notna()]
    parts = []
    for _, part in chosen.groupby(["probe", "task"], sort=False):
        quoted = _first_split(part)
        parts.append(quoted[quoted["metric"] == first_metric(quoted, PROBE_METRICS)])
    return over_seeds(_joined(parts, chosen), ["probe", *ITEM, "metric", "fraction", "layer"])


def first_probe(probes: pd.DataFrame) -> pd.DataFrame:
    """The scores of the probe that comes first in the results, the one that summaries are about."""
    return probes[probes["probe"] == probes["probe"].iloc[0]] if len(probes) else probes


def best_layers(probes: pd.DataFrame) -> pd.DataFrame:
    """The layer where each probe scores highest (the lowest such layer), with that score."""
    ordered = probes.sort_values("layer", kind="stable")
    best = ordered.groupby(["probe", *ITEM, "fraction"], sort=False)["mean"].idxmax()
    return probes.loc[sorted(best)]


def attention_changes(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One attention measure by task, model, fraction (%), layer and head, averaged over seeds."""
    chosen = rows[(rows["kind"] == "attention") & (rows["metric"] == measure)]
    chosen = chosen.dropna(subset=["fraction", "layer", "head"])
    return over_seeds(chosen, [*ITEM, "fraction", "layer", "head"])


def adaptation(rows: pd.DataFrame) -> pd.DataFrame:
    """Language-model scores on held-out text: model, metric, then one column per stage and the change."""
    chosen = rows[rows["kind"] == "adapt"]
    if chosen.empty:
        return chosen
    chosen = _first_split(chosen).assign(stage=lambda table: table["stage"].replace("", "value"))
    summary = over_seeds(chosen, ["model", "metric", "stage"])
    frame = widened(summary, ["model", "metric"], "stage", in_order(chosen["stage"]))
    if {"before", "after"} <= set(frame):
        frame["change"] = frame["after"] - frame["before"]
    return frame


def inventory(rows: pd.DataFrame) -> pd.DataFrame:
    """What was measured at all: kind, metric and split with the number of rows and the range of values."""
    grouped = rows.groupby(["kind", "metric", "split"], sort=False)["value"]
    return grouped.agg(rows="count", lowest="min", mean="mean", highest="max").reset_index()


def widened(frame: pd.DataFrame, index: list[str], column: str, order: Sequence[str | float]) -> pd.DataFrame:
    """A frame with one row per `index` and one column of means per value of `column`, orders kept."""
    cells = {
        name: part.drop_duplicates(index).set_index(index)["mean"]
        for name, part in frame.groupby(column, sort=False)
    }
    wide = frame[index].drop_duplicates().reset_index(drop=True)
    keys = pd.MultiIndex.from_frame(wide)
    for name in order:
        if name in cells:
            wide[name] = cells[name].reindex(keys if len(index) > 1 else wide[index[0]]).to_numpy()
    return wide


def glance(scores: pd.DataFrame, probes: pd.DataFrame) -> pd.DataFrame:
    """Per task and model: the primary metric at each fraction, its gain over 0 %, best probe layers.

    The gain is the score at the largest fraction minus the score at 0 %. "before" is the pretrained
    model, "after" the model fine-tuned on the largest fraction that was probed.
    """
    fractions = numbers(scores["fraction"])
    names = {fraction: percent(fraction) for fraction in fractions}
    frame = pd.concat([scores[ITEM], probes[ITEM]]).drop_duplicates(ignore_index=True)
    if fractions:
        wide = widened(scores, [*ITEM, "metric"], "fraction", fractions).rename(columns=names)
        frame = frame.merge(wide.assign(metric=wide["metric"].map(metric_name)), on=ITEM, how="left")
    if len(fractions) > 1 and fractions[0] == 0:
        frame["gain"] = frame[names[fractions[-1]]] - frame[names[0]]
    if not probes.empty:
        probed = best_layers(first_probe(probes)).sort_values("fraction")
        before = probed[probed["fraction"] == 0]
        after = probed[probed["fraction"] > 0].drop_duplicates(ITEM, keep="last")
        for part, name in ((before, "before"), (after, "after")):
            columns = {"layer": f"layer {name}", "mean": f"score {name}"}
            frame = frame.merge(part[[*ITEM, *columns]].rename(columns=columns), on=ITEM, how="left")
    return frame.dropna(axis="columns", how="all")


@dataclass(frozen=True, kw_only=True)
class Results:
    """The rows of a suite and the frames that several sections draw from."""

    rows: pd.DataFrame
    models: list[str]
    scores: pd.DataFrame
    primary: pd.DataFrame
    probes: pd.DataFrame
    attention: dict[str, pd.DataFrame]
    adapted: pd.DataFrame

    def models_in(self, frame: pd.DataFrame) -> list[str]:
        """The models of a frame in the order of the report."""
        present = set(frame["model"])
        return [model for model in self.models if model in present]


def read(rows: pd.DataFrame) -> Results:
    """Everything the page needs, from tidy rows."""
    rows = plain(rows)
    scores = downstream_scores(rows)
    return Results(
        rows=rows,
        models=in_order(rows["model"]),
        scores=scores,
        primary=primary_scores(scores),
        probes=probe_scores(rows),
        attention={measure: attention_changes(rows, measure) for measure in ATTENTION_MEASURES},
        adapted=adaptation(rows),
    )


def _joined(parts: list[pd.DataFrame], like: pd.DataFrame) -> pd.DataFrame:
    """The parts one below the other; an empty frame with the same columns when there are none."""
    return pd.concat(parts) if parts else like


@dataclass(frozen=True)
class Cell:
    """One printed table cell. `note` is a second, smaller line; `style` is a set of CSS classes."""

    text: str
    note: str = ""
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table ready to print, with the same numbers at six digits as a CSV file in a data: address."""

    ident: str
    title: str
    columns: list[str]
    numeric: list[bool]
    cells: list[list[Cell]]
    csv: str
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def href(self) -> str:
        """The CSV file as a data: address."""
        return "data:text/csv;charset=utf-8," + quote(self.csv, safe=",.-_~")


def as_table(
    frame: pd.DataFrame,
    ident: str,
    title: str,
    *,
    groups: tuple[tuple[str, int], ...] = (),
    styles: Mapping[tuple[int, str], str] | None = None,
    notes: Mapping[tuple[int, str], str] | None = None,
) -> Table:
    """Print a frame: 3 decimals, whole-number columns without any, a missing cell as a dash.

    `styles` and `notes` are by row position and column name; `groups` are labels over spans of columns.
    """
    frame = _typed(frame.reset_index(drop=True))
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    styles, notes = styles or {}, notes or {}
    cells = [
        [
            Cell(_text(value), notes.get((at, name), ""), styles.get((at, name), ""))
            for name, value in zip(frame.columns, record, strict=True)
        ]
        for at, record in enumerate(frame.itertuples(index=False, name=None))
    ]
    return Table(
        ident=ident,
        title=title,
        columns=list(frame.columns),
        numeric=numeric,
        cells=cells,
        csv=frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        groups=groups,
    )


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with whole-number columns as nullable integers, so that a layer prints as 3, not 3.000."""
    typed = frame.rename(columns=str)
    for name in typed.columns.intersection(WHOLE):
        if (typed[name].dropna() % 1 == 0).all():
            typed[name] = typed[name].astype("Int64")
    return typed


def _text(value: object) -> str:
    """A cell as it is printed."""
    if pd.isna(value) or value == "":  # type: ignore[call-overload]
        return MISSING
    if isinstance(value, float):
        # Adding zero turns a rounded -0.0 into 0.0.
        return f"{round(value, 3) + 0.0:.3f}".replace("-", "\N{MINUS SIGN}")
    return str(value)
