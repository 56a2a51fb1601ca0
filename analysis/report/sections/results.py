"""The frames that several sections of the report draw from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from microtome.analysis.metrics import PRIMARY, PROBE_PRIMARY
from microtome.analysis.report.frames import (
    ITEM,
    first_metric,
    first_split,
    in_order,
    over_seeds,
    pivoted,
    plain,
    plain_derived,
    stacked,
)

ATTENTION_MEASURES = ("jensen_shannon", "cosine", "cosine_whole", "l1")
BASELINES = ("majority", "bag-of-words")
MIX = "scalar-mix"


@dataclass(frozen=True, kw_only=True)
class Results:
    """The rows of a suite and the frames that several sections draw from.

    tidy      the rows as they were given
    rows      the same as texts and numbers, without those that have no value
    derived   what is derived from the primary scores of several jobs, likewise
    scores    every downstream score; primary, those of each task's primary metric
    probes    primary score of every probed layer; unlayered, of what has no layer: baselines, scalar mix
    attention change of each head by measure, for fraction 0 of an adapted model from its base
    """

    tidy: pd.DataFrame
    rows: pd.DataFrame
    derived: pd.DataFrame
    models: list[str]
    scores: pd.DataFrame
    primary: pd.DataFrame
    probes: pd.DataFrame
    unlayered: pd.DataFrame
    attention: dict[str, pd.DataFrame]
    adapted: pd.DataFrame

    def models_in(self, frame: pd.DataFrame) -> list[str]:
        """The models of a frame in the order of the report."""
        present = set(frame["model"])
        return [model for model in self.models if model in present]

    def derived_from(self, kind: str, quantity: str) -> pd.DataFrame:
        """What is derived from the primary scores of a kind, quantity "gain" or "difference", with its value
        as `mean`, as in the frames of over_seeds."""
        return derived_from(self.derived, kind, quantity).rename(columns={"value": "mean"})


def read(rows: pd.DataFrame, derived: pd.DataFrame | None = None) -> Results:
    """Everything the sections share, from tidy rows and what is derived from them."""
    measured = plain(rows)
    derived_rows = plain_derived(pd.DataFrame() if derived is None else derived)
    scores = downstream_scores(measured, derived_from(derived_rows, "finetune", "mean"))
    main = _probe_rows(measured)
    layered = main[main["layer"].notna()]
    means = derived_from(derived_rows, "probe", "mean")
    return Results(
        tidy=rows,
        rows=measured,
        derived=derived_rows,
        models=in_order(measured["model"]),
        scores=scores,
        primary=primary_scores(scores),
        probes=_with_dev(layered, measured, means),
        unlayered=_unlayered(main[main["layer"].isna()], means[means["layer"].isna()]),
        attention={measure: attention_changes(measured, measure) for measure in ATTENTION_MEASURES},
        adapted=adaptation(measured),
    )


def derived_from(derived: pd.DataFrame, kind: str, quantity: str) -> pd.DataFrame:
    """The derived rows of one quantity of one kind of job; means of these have no deviation of their own."""
    selected = derived[(derived["kind"] == kind) & (derived["quantity"] == quantity)]
    return selected.assign(deviation=np.nan)


def downstream_scores(rows: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Every fine-tuning metric on the quoted split, by task, model, fraction (%) and metric."""
    selected = rows[(rows["kind"] == "finetune") & rows["fraction"].notna() & (rows["label"] == "")]
    parts = [first_split(part) for _, part in selected.groupby("task", sort=False)]
    return over_seeds(stacked(parts, selected), [*ITEM, "fraction", "metric"], means)


def primary_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of each task's primary metric alone."""
    parts = [
        part[part["metric"] == first_metric(part, PRIMARY)] for _, part in scores.groupby("task", sort=False)
    ]
    return stacked(parts, scores)


def probe_metric(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric of every probed layer, by probe, task, model, fraction (%) and layer."""
    selected = rows[(rows["kind"] == "probe") & (rows["metric"] == metric)].dropna(
        subset=["layer", "fraction"]
    )
    return over_seeds(selected, ["probe", *ITEM, "metric", "fraction", "layer"])


def _probe_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the primary metric of each task; one that was not probed for any is left out."""
    selected = rows[(rows["kind"] == "probe") & rows["fraction"].notna() & rows["metric"].isin(PROBE_PRIMARY)]
    parts = []
    for _, part in selected.groupby("task", sort=False):
        quoted = first_split(part)
        parts.append(quoted[quoted["metric"] == first_metric(quoted, PROBE_PRIMARY)])
    return stacked(parts, selected)


def _with_dev(rows: pd.DataFrame, all_rows: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """The scores of probed layers, and in `dev` those of the same probe on the dev part, NaN without one."""
    keys = ["probe", *ITEM, "metric", "fraction", "layer"]
    dev = all_rows[(all_rows["kind"] == "probe") & (all_rows["split"] == "dev")]
    on_dev = dev.groupby(keys, sort=False, as_index=False).agg(dev=("value", "mean"))
    return over_seeds(rows, keys, means).merge(on_dev, on=keys, how="left")


def _unlayered(rows: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Primary score by probe, task, model and fraction (%). Every probing job of a model scores the same
    baselines: of those, one row per seed is enough."""
    keys = ["probe", *ITEM, "metric", "fraction"]
    return over_seeds(rows.drop_duplicates([*keys, "seed", "value"]), keys, means)


def first_probe(probes: pd.DataFrame) -> pd.DataFrame:
    """The scores of the probe that comes first in the results, the one that summaries are about."""
    return probes[probes["probe"] == probes["probe"].iloc[0]] if len(probes) else probes


def best_layers(probes: pd.DataFrame) -> pd.DataFrame:
    """The layer where each probe scores highest on dev (the lowest such layer), with its score on test; where
    a layer has no score on dev, the highest on test."""
    ordered = probes.sort_values("layer", kind="stable")
    groups = ordered.groupby(["probe", *ITEM, "fraction"], sort=False)
    on_dev = ordered["dev"].notna().groupby([ordered[key] for key in ("probe", *ITEM, "fraction")])
    chosen_by = ordered["dev"].where(on_dev.transform("all"), ordered["mean"])
    best = [chosen_by.loc[places].idxmax() for places in groups.groups.values()]
    return probes.loc[probes.index.isin(best)]


def attention_changes(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One attention measure by task, model, fraction (%), layer and head, averaged over seeds."""
    selected = rows[(rows["kind"] == "attention") & (rows["metric"] == measure) & (rows["stage"] == "")]
    selected = selected.dropna(subset=["fraction", "layer", "head"])
    return over_seeds(selected, [*ITEM, "fraction", "layer", "head"])


def fine_tuned(frame: pd.DataFrame) -> pd.DataFrame:
    """Comparisons of a fine-tuned model with the same model before."""
    return frame[frame["fraction"] > 0]


def adapted_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Comparisons of an adapted model with its base."""
    return frame[frame["fraction"] == 0]


def adaptation(rows: pd.DataFrame) -> pd.DataFrame:
    """Language-model scores on held-out text: model, metric, then one column per stage and the change."""
    selected = rows[(rows["kind"] == "adapt") & (rows["stage"] != "during")]
    if selected.empty:
        return selected
    selected = first_split(selected).assign(stage=lambda table: table["stage"].replace("", "value"))
    summary = over_seeds(selected, ["model", "metric", "stage"])
    frame = pivoted(summary, ["model", "metric"], "stage", in_order(selected["stage"]))
    if {"before", "after"} <= set(frame):
        frame["change"] = frame["after"] - frame["before"]
    return frame


def inventory(rows: pd.DataFrame) -> pd.DataFrame:
    """What was measured at all: kind, metric and split with the number of rows and the range of values."""
    grouped = rows.groupby(["kind", "metric", "split"], sort=False)["value"]
    return grouped.agg(rows="count", lowest="min", mean="mean", highest="max").reset_index()
