"""How downstream scores relate to what the layers encode: points, correlations, and what they support."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from microtome.analysis.bootstrap import LEVEL
from microtome.analysis.metrics import PRIMARY, PROBE_PRIMARY
from microtome.analysis.model_swaps import Measured, relation, without_each_model
from microtome.analysis.multiple_tests import holm

PROBE_EXTRAS = ("selectivity", "compression")
ATTENTION_CHANGES = ("jensen_shannon", "cosine", "l1")
SPLITS = ("test", "heldout")  # the first of these that a task has is quoted

ALL_TASKS = "all tasks"
RUN = ["task", "model", "fraction"]
KEYS = [*RUN, "seed"]
PREDICTOR = ["method", "metric"]
COLUMNS = [*KEYS, *PREDICTOR, "layer", "x", "y", "score"]  # the metric of y
OVER = ("across models", "within models")
MEASURES = ("spearman", "pearson")
RESULT = ["task", *PREDICTOR, "layer", "over", "models", "n"] + [
    f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")
]
RESULT += ["p", "without_one_low", "without_one_high"]
SUMMARIES = ("best", "mean")  # the layers that a claim is about


class Verdict(StrEnum):
    """What an interval of a correlation shows."""

    TOO_FEW_MODELS = "too few models for an interval"
    HIGHER = "the score is higher where the predictor is higher"
    LOWER = "the score is lower where the predictor is higher"
    NOT_SHOWN = "no relation is shown"


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """What is compared with the downstream score: a `metric`, and the `method` that measured it: the name of
    a probe, "attention", or nothing where the metric says it all."""

    method: str
    metric: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the data support about one task and predictor: Spearman's rho over `n` points of `models` models,
    with its interval.

    `layer` is "best", the best layer, or "mean", the mean over layers. `over` is "across models" or "within
    models" (see `correlations`). `p` is after Holm's correction over all claims that were made together; it
    and the interval are NaN for too few models. `without_one` are the lowest and highest rho when each model
    in turn is left out.
    """

    task: str
    predictor: Predictor
    layer: str
    over: str
    models: int
    n: int
    rho: float
    low: float
    high: float
    p: float
    without_one: tuple[float, float]

    @property
    def verdict(self) -> Verdict:
        """A relation is shown if it holds after Holm's correction, and whichever model is left out."""
        if np.isnan(self.p):
            return Verdict.TOO_FEW_MODELS
        if self.p > 1 - LEVEL or not self.without_one[0] * self.without_one[1] > 0:
            return Verdict.NOT_SHOWN
        return Verdict.HIGHER if self.rho > 0 else Verdict.LOWER


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per task, model, fraction, seed, predictor and layer, from the tidy rows of store/results.py:
    `x`, the predictor, against `y`, the primary downstream score.

    A predictor has a `method` and a `metric`: a probe's name and its primary metric; selectivity and
    compression (with the probe's name if several probes have them); "attention" and how far it changed, mean
    over heads (cosine is lower the more changed); and, without a method, linear CKA with the same layer
    before. `layer` is a number as text, "last", and "best" (the highest x) for probes or "mean" for changes.
    Rows of a probe without a seed, those before fine-tuning, count for every seed. Fraction 0 has no change.
    """
    frame = _plain(rows)
    probes = _averaged(_probes(frame))
    changes = _averaged(pd.concat([_attention(frame), _similarity(frame)]))
    layers = [form(rows) for rows in (probes, changes) for form in (_by_layer, _last)]
    predictors = pd.concat([*layers, _summary(probes, "max", "best"), _summary(changes, "mean", "mean")])
    paired = _paired(predictors, _scores(frame))[COLUMNS]
    order = ["task", *PREDICTOR, "layer", "model", "fraction", "seed"]
    return paired.sort_values(order, kind="stable", ignore_index=True).astype({"seed": "Int64"})


def correlations(points: pd.DataFrame, *, swaps: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Spearman and Pearson correlation of x and y by task, predictor and layer, seeds averaged, each with a
    95 % interval over models (model_swaps.py). "all tasks" pools tasks whose downstream scores are of one
    metric; where there are several metrics, "all tasks by <metric>".

    x and y are taken minus their mean over models at the same task and fraction. `over` says of what the
    correlation is: "across models", whether a model with a higher x has a higher y; "within models", where
    the mean of each model is taken off too, whether a model that gains more in x from more data gains more in
    y. `n` points are of `models` models. Under six models there is no interval and no `p` (of Spearman's,
    for this row alone). `without_one_low` and `_high` bound Spearman's when one model in turn is left out.
    Fewer than four points or a constant side: no row.
    """
    records = []
    for labels, part in _cells(points):
        measured = _measured(part)
        for over in OVER:
            within = over == "within models"
            ranked = relation(measured, ranks=True, within_models=within, swaps=swaps, seed=seed)
            linear = relation(measured, ranks=False, within_models=within, swaps=swaps, seed=seed)
            if ranked is None or linear is None:
                continue
            record = {**labels, "over": over, "models": ranked.models, "n": ranked.points, "p": ranked.p}
            for name, result in zip(MEASURES, (ranked, linear), strict=True):
                record |= {name: result.value, f"{name}_low": result.low, f"{name}_high": result.high}
            low, high = without_each_model(measured, ranks=True, within_models=within)
            records.append(record | {"without_one_low": low, "without_one_high": high})
    return pd.DataFrame(records, columns=RESULT)


def claims(correlations: pd.DataFrame) -> list[Claim]:
    """What the data support of each task and predictor, at its best layer or in the mean over layers."""
    rows = correlations[correlations["layer"].isin(SUMMARIES)]
    rows = rows.assign(p=holm(rows["p"].to_numpy(np.float64)))
    return [
        Claim(
            task=row["task"],
            predictor=Predictor(method=row["method"], metric=row["metric"]),
            layer=row["layer"],
            over=row["over"],
            models=int(row["models"]),
            n=int(row["n"]),
            rho=row["spearman"],
            low=row["spearman_low"],
            high=row["spearman_high"],
            p=row["p"],
            without_one=(row["without_one_low"], row["without_one_high"]),
        )
        for row in rows.to_dict("records")
    ]


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Texts with "" for what is missing, numbers as float64 with NaN; rows without a value are left out."""
    frame = pd.DataFrame(index=rows.index)
    for name in ("kind", "task", "model", "split", "stage", "probe", "label", "metric"):
        column = rows[name] if name in rows else pd.Series(pd.NA, index=rows.index, dtype="string")
        frame[name] = column.astype("string").fillna("").astype(object)
    for name in ("fraction", "seed", "layer", "head", "other_layer", "value"):
        column = rows[name] if name in rows else pd.Series(np.nan, index=rows.index)
        frame[name] = pd.to_numeric(column, errors="coerce").astype("float64")
    usable = np.isfinite(frame["value"]) & frame["fraction"].notna() & (frame["label"] == "")
    return frame[usable].reset_index(drop=True)


def _scores(frame: pd.DataFrame) -> pd.DataFrame:
    """`y`: the primary metric of every fine-tuned checkpoint."""
    tuned = frame[frame["kind"] == "finetune"]
    parts = [_primary(_quoted(part), PRIMARY) for _, part in tuned.groupby("task", sort=False)]
    primary = pd.concat(parts) if parts else tuned
    means = primary.groupby([*KEYS, "metric"], dropna=False)["value"].mean()
    return means.rename("y").reset_index().rename(columns={"metric": "score"})


def _probes(frame: pd.DataFrame) -> pd.DataFrame:
    probed = frame[(frame["kind"] == "probe") & frame["layer"].notna()]
    parts = []
    for (_, probe), part in probed.groupby(["task", "probe"], sort=False):
        quoted = _quoted(part)
        parts.append(_primary(quoted, PROBE_PRIMARY).assign(method=str(probe)))
        for metric in PROBE_EXTRAS:
            several = probed.loc[probed["metric"] == metric, "probe"].nunique() > 1
            parts.append(quoted[quoted["metric"] == metric].assign(method=str(probe) if several else ""))
    return pd.concat(parts) if parts else probed.assign(method="")


def _attention(frame: pd.DataFrame) -> pd.DataFrame:
    """How attention changed; rows with a stage say what it is like before or after, and are left out."""
    changed = frame["metric"].isin(ATTENTION_CHANGES) & (frame["stage"] == "")
    return frame[(frame["kind"] == "attention") & changed & (frame["fraction"] > 0)].assign(
        method="attention"
    )


def _similarity(frame: pd.DataFrame) -> pd.DataFrame:
    """Linear CKA of each layer after fine-tuning with the same layer before."""
    same_layer = (frame["stage"] == "across") & (frame["layer"] == frame["other_layer"])
    tuned = (frame["kind"] == "similarity") & (frame["metric"] == "linear_cka") & (frame["fraction"] > 0)
    return frame[tuned & same_layer].assign(method="")


def _quoted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the split that a result is quoted on."""
    present = set(rows["split"])
    split = next((name for name in SPLITS if name in present), None)
    return rows if split is None else rows[rows["split"] == split]


def _primary(rows: pd.DataFrame, preferred: Sequence[str]) -> pd.DataFrame:
    """The rows of the first of `preferred` that there is; none if there is none."""
    present = set(rows["metric"])
    return rows[rows["metric"] == next((metric for metric in preferred if metric in present), None)]


def _averaged(rows: pd.DataFrame) -> pd.DataFrame:
    """One `x` per run, predictor and layer: the mean over heads."""
    grouped = rows.dropna(subset=["layer"]).groupby([*KEYS, *PREDICTOR, "layer"], dropna=False)
    return grouped["value"].mean().rename("x").reset_index()


def _by_layer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(layer=[f"{layer:g}" for layer in rows["layer"]])


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    last = rows.groupby(["task", "model", *PREDICTOR])["layer"].transform("max")
    return rows[rows["layer"] == last].assign(layer="last")


def _summary(rows: pd.DataFrame, how: str, name: str) -> pd.DataFrame:
    grouped = rows.groupby([*KEYS, *PREDICTOR], dropna=False)["x"]
    return grouped.agg(how).reset_index().assign(layer=name)


def _paired(predictors: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Each predictor beside the score of its run; one without a seed beside the scores of all seeds."""
    shared = predictors["seed"].isna()
    every_seed = predictors[shared].drop(columns="seed").merge(scores, on=RUN)
    same_seed = predictors[~shared].merge(scores.dropna(subset=["seed"]), on=KEYS)
    return pd.concat([every_seed, same_seed], ignore_index=True)


def _cells(points: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Every task, then all tasks together where there are several, by predictor and layer."""
    keys = [*PREDICTOR, "layer"]
    for values, part in points.groupby(["task", *keys], sort=False):
        yield dict(zip(["task", *keys], values, strict=True)), part
    several = points["score"].nunique() > 1
    for values, part in points.groupby([*keys, "score"], sort=False):
        if part["task"].nunique() > 1:
            name = f"{ALL_TASKS} by {part['score'].iloc[0]}" if several else ALL_TASKS
            yield {"task": name, **dict(zip(keys, values[:-1], strict=True))}, part


def _measured(points: pd.DataFrame) -> Measured:
    """The points with their seeds averaged: one per model, task and fraction."""
    means = points.groupby(RUN, sort=True)[["x", "y"]].mean().reset_index()
    return Measured(
        x=means["x"].to_numpy(np.float64),
        y=means["y"].to_numpy(np.float64),
        model=means.groupby("model").ngroup().to_numpy(),
        condition=means.groupby(["task", "fraction"]).ngroup().to_numpy(),
    )
