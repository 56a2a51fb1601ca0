"""How downstream scores relate to what the layers encode: points, correlations, and what they support."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from microtome.analysis.bootstrap import LEVEL, resampled_counts
from microtome.analysis.metrics import PRIMARY, PROBE_PRIMARY

PROBE_EXTRAS = ("selectivity", "compression")
ATTENTION_CHANGES = ("jensen_shannon", "cosine", "l1")
SPLITS = ("test", "heldout")  # the first of these that a task has is quoted

ALL_TASKS = "all tasks"
FEWEST = 4  # points; fewer have no correlation worth a number
FEW = 10  # points; with fewer a claim says nothing
TINY = 1e-9  # a spread below this is rounding

RUN = ["task", "model", "fraction"]
KEYS = [*RUN, "seed"]
PREDICTOR = ["method", "metric"]
COLUMNS = [*KEYS, *PREDICTOR, "layer", "x", "y"]
OVER = {"points": ["task"], "within models": ["task", "model"]}  # what x and y are centred by
MEASURES = ("spearman", "pearson")
RESULT = ["task", *PREDICTOR, "layer", "over", "n"] + [
    f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")
]
SUMMARIES = ("best", "mean")  # the layers that a claim is about


class Verdict(StrEnum):
    """What an interval of a correlation shows."""

    TOO_FEW = "too few points"
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
    """What the data support about one task and predictor: Spearman's rho over `n` points with its interval.

    `layer` is "best", the best layer, or "mean", the mean over layers. `over` is "points", all points of the
    task, or "within models" (see `correlations`).
    """

    task: str
    predictor: Predictor
    layer: str
    over: str
    n: int
    rho: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What the interval shows; nothing for fewer than FEW points."""
        if self.n < FEW:
            return Verdict.TOO_FEW
        if self.low > 0:
            return Verdict.HIGHER
        return Verdict.LOWER if self.high < 0 else Verdict.NOT_SHOWN


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


def correlations(points: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Spearman and Pearson correlation of x and y by task, predictor and layer, each with a 95 % percentile
    bootstrap interval, and the number of points `n`.

    `over` says of what: "points" compares all points of a task; "within models" centres x and y by task and
    model first, so that it says whether both move together as training data and seed vary, not whether
    models differ. "all tasks" pools tasks, centred by task. The intervals take points as independent, which
    seeds and fractions of one model are not quite. Fewer than 4 points or a constant side: no row.
    """
    groups = {over: points.groupby(by, sort=False).ngroup() for over, by in OVER.items()}
    points = points.assign(**groups)
    records = []
    for labels, part in _cells(points):
        values = part[["x", "y"]].to_numpy(np.float64)
        for over in OVER:
            x, y = _centred(values, part[over].to_numpy()).T
            correlation = _both_correlations(x, y, resamples, seed)
            if correlation:
                records.append({**labels, "over": over, "n": len(x), **correlation})
    return pd.DataFrame(records, columns=RESULT)


def claims(correlations: pd.DataFrame) -> list[Claim]:
    """What the data support of each task and predictor, at its best layer or in the mean over layers."""
    rows = correlations[correlations["layer"].isin(SUMMARIES)]
    return [
        Claim(
            task=row["task"],
            predictor=Predictor(method=row["method"], metric=row["metric"]),
            layer=row["layer"],
            over=row["over"],
            n=int(row["n"]),
            rho=row["spearman"],
            low=row["spearman_low"],
            high=row["spearman_high"],
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
    return primary.groupby(KEYS, dropna=False)["value"].mean().rename("y").reset_index()


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
    for values, part in points.groupby(keys, sort=False):
        if part["task"].nunique() > 1:
            yield {"task": ALL_TASKS, **dict(zip(keys, values, strict=True))}, part


def _centred(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """x and y [points, 2] minus the mean of their group. A group of one point says nothing: left out."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(group, column) for column in values.T], axis=1)
    # Rounded, so that what is equal but for the last bit ties.
    return (values - (sums / sizes[:, None])[group]).round(12)[sizes[group] > 1]


def _both_correlations(x: np.ndarray, y: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Both correlations with their intervals; empty for too few points or where one side is constant."""
    if len(x) < FEWEST or np.ptp(x) < TINY or np.ptp(y) < TINY:
        return {}
    counts = _counts(len(x), resamples, seed)
    resampled = {
        "spearman": _correlation(counts, _ranks(counts, x), _ranks(counts, y)),
        "pearson": _correlation(counts, x, y),
    }
    result: dict[str, float] = {}
    for measure, values in resampled.items():
        low, high = np.nanquantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        result |= {measure: float(values[0]), f"{measure}_low": float(low), f"{measure}_high": float(high)}
    return result


@functools.lru_cache(maxsize=8)
def _counts(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each point is held by the points themselves, first, and by each resample: read-only float64
    [1 + resamples, points]. The same for all cells of as many points."""
    blocks = resampled_counts(np.random.default_rng(seed), resamples, n)
    counts = np.concatenate([np.ones((1, n)), *blocks])
    counts.flags.writeable = False
    return counts


def _ranks(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The rank of every point within every resample, from its middle, ties sharing their mean rank:
    [resamples, points]."""
    below = (values[:, None] < values) + 0.5 * (values[:, None] == values)
    return counts @ below - counts.shape[1] / 2


def _correlation(counts: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation of every resample, NaN where one side of it is constant: [resamples].

    x and y, about zero, are [points], or [resamples, points].
    """
    n, weighted_x, weighted_y = counts.shape[1], counts * x, counts * y
    sum_x, sum_y = weighted_x.sum(axis=1), weighted_y.sum(axis=1)
    xx = (weighted_x * x).sum(axis=1) - sum_x**2 / n
    yy = (weighted_y * y).sum(axis=1) - sum_y**2 / n
    xy = (weighted_x * y).sum(axis=1) - sum_x * sum_y / n
    varies = (xx > TINY * xx.max()) & (yy > TINY * yy.max())
    correlation = xy / np.sqrt(np.where(varies, xx * yy, 1))
    return np.where(varies, correlation.clip(-1, 1), np.nan)
