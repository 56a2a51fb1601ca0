"""How downstream scores relate to what the layers encode: points, correlations, and what they support."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from microtome.analysis.bootstrap import LEVEL, resampled_counts
from microtome.analysis.metrics.scores import PRIMARY, PROBE_PRIMARY

PROBE_EXTRAS = ("selectivity", "compression")
ATTENTION_CHANGES = ("jensen_shannon", "cosine", "l1")
SPLITS = ("test", "heldout")  # the first of these that a task has is quoted

ALL_TASKS = "all tasks"
FEWEST = 4  # points; fewer have no correlation worth a number
FEW = 10  # points; with fewer a claim says nothing
TINY = 1e-9  # a spread below this is rounding

RUN = ["task", "model", "fraction"]
KEYS = [*RUN, "seed"]
COLUMNS = [*KEYS, "predictor", "layer", "x", "y"]
OVER = {"points": ["task"], "within models": ["task", "model"]}  # what x and y are centred by
MEASURES = ("spearman", "pearson")
RESULT = ["task", "predictor", "layer", "over", "n"] + [
    f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")
]


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per task, model, fraction, seed, predictor and layer, from the tidy rows of store/results.py:
    `x`, the predictor, against `y`, the primary downstream score.

    Predictors are a probe's primary metric ("linear: accuracy"), its selectivity and compression (with the
    probe's name if several probes have them), how far attention changed, mean over heads ("attention:
    cosine"; cosine and CKA are lower the more changed), and linear CKA with the same layer before. `layer`
    is a number as text, "last", and "best" (the highest x) for probes or "mean" for what changed. Rows of a
    probe without a seed, those before fine-tuning, stand for every seed. Fraction 0 has no change.
    """
    frame = _plain(rows)
    probes = _averaged(_probes(frame))
    changes = _averaged(pd.concat([_attention(frame), _similarity(frame)]))
    layers = [form(rows) for rows in (probes, changes) for form in (_by_layer, _last)]
    predictors = pd.concat([*layers, _summary(probes, "max", "best"), _summary(changes, "mean", "mean")])
    found = _paired(predictors, _scores(frame))[COLUMNS]
    order = ["task", "predictor", "layer", "model", "fraction", "seed"]
    return found.sort_values(order, kind="stable", ignore_index=True).astype({"seed": "Int64"})


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
    found = []
    for labels, part in _cells(points):
        values = part[["x", "y"]].to_numpy(np.float64)
        for over in OVER:
            x, y = _centred(values, part[over].to_numpy()).T
            related = _related(x, y, resamples, seed)
            if related:
                found.append({**labels, "over": over, "n": len(x), **related})
    return pd.DataFrame(found, columns=RESULT)


def claims(correlations: pd.DataFrame) -> list[str]:
    """What the data at hand support, in plain sentences: one per task and predictor, of its best layer or
    its mean over layers, with Spearman's rho; a last one on how many intervals there are."""
    chosen = correlations[correlations["layer"].isin(["best", "mean"])]
    if chosen.empty:
        return [
            "Nothing can be said of how downstream scores relate to the layers: "
            f"no predictor has {FEWEST} points over which both vary."
        ]
    said = []
    for (task, predictor, layer), part in chosen.groupby(["task", "predictor", "layer"], sort=False):
        where = "at its best layer" if layer == "best" else "mean over layers"
        clauses = "; ".join(_clause(row) for row in part.to_dict("records"))
        said.append(f"{task}, {predictor}, {where}: {clauses}.")
    told = int((chosen["n"] >= FEW).sum())
    if told > 1:
        said.append(
            f"These are {told} intervals of {LEVEL:.0%} each: of so many, about {told * (1 - LEVEL):.1f} "
            "would leave zero out by chance alone."
        )
    return said


def _clause(row: Mapping[Any, Any]) -> str:
    over = "over all points" if row["over"] == "points" else "within models"
    if row["n"] < FEW:
        return f"{over}, {row['n']} points are too few to say anything"
    low, high = row["spearman_low"], row["spearman_high"]
    numbers = (
        f"Spearman's rho {row['spearman']:.2f}, {LEVEL:.0%} interval {low:.2f} to {high:.2f}, n = {row['n']}"
    )
    if low > 0:
        return f"{over}, the downstream score is higher where it is higher ({numbers})"
    if high < 0:
        return f"{over}, the downstream score is lower where it is higher ({numbers})"
    return f"{over}, no relation is shown: the interval includes zero ({numbers})"


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
    chosen = pd.concat(parts) if parts else tuned
    return chosen.groupby(KEYS, dropna=False)["value"].mean().rename("y").reset_index()


def _probes(frame: pd.DataFrame) -> pd.DataFrame:
    probed = frame[(frame["kind"] == "probe") & frame["layer"].notna()]
    parts = []
    for (_, probe), part in probed.groupby(["task", "probe"], sort=False):
        quoted = _quoted(part)
        main = _primary(quoted, PROBE_PRIMARY)
        parts.append(main.assign(predictor=f"{probe}: " + main["metric"]))
        for metric in PROBE_EXTRAS:
            several = probed.loc[probed["metric"] == metric, "probe"].nunique() > 1
            name = f"{probe}: {metric}" if several else metric
            parts.append(quoted[quoted["metric"] == metric].assign(predictor=name))
    return pd.concat(parts) if parts else probed.assign(predictor="")


def _attention(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of change; rows of what attention is like before and after have a stage."""
    changed = frame["metric"].isin(ATTENTION_CHANGES) & (frame["stage"] == "")
    chosen = frame[(frame["kind"] == "attention") & changed & (frame["fraction"] > 0)]
    return chosen.assign(predictor="attention: " + chosen["metric"])


def _similarity(frame: pd.DataFrame) -> pd.DataFrame:
    across = (frame["stage"] == "across") & (frame["layer"] == frame["other_layer"])
    chosen = frame[(frame["kind"] == "similarity") & across & (frame["fraction"] > 0)]
    return chosen[chosen["metric"] == "linear_cka"].assign(predictor="linear_cka")


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
    grouped = rows.dropna(subset=["layer"]).groupby([*KEYS, "predictor", "layer"], dropna=False)
    return grouped["value"].mean().rename("x").reset_index()


def _by_layer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(layer=[f"{layer:g}" for layer in rows["layer"]])


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    last = rows.groupby(["task", "model", "predictor"])["layer"].transform("max")
    return rows[rows["layer"] == last].assign(layer="last")


def _summary(rows: pd.DataFrame, how: str, name: str) -> pd.DataFrame:
    grouped = rows.groupby([*KEYS, "predictor"], dropna=False)["x"]
    return grouped.agg(how).reset_index().assign(layer=name)


def _paired(predictors: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Each predictor beside the score of its run; one without a seed beside the scores of all seeds."""
    shared = predictors["seed"].isna()
    every_seed = predictors[shared].drop(columns="seed").merge(scores, on=RUN)
    same_seed = predictors[~shared].merge(scores.dropna(subset=["seed"]), on=KEYS)
    return pd.concat([every_seed, same_seed], ignore_index=True)


def _cells(points: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Every task, then all tasks together where there are several, by predictor and layer."""
    for (task, predictor, layer), part in points.groupby(["task", "predictor", "layer"], sort=False):
        yield {"task": task, "predictor": predictor, "layer": layer}, part
    for (predictor, layer), part in points.groupby(["predictor", "layer"], sort=False):
        if part["task"].nunique() > 1:
            yield {"task": ALL_TASKS, "predictor": predictor, "layer": layer}, part


def _centred(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """x and y [points, 2] minus the mean of their group. A group of one point says nothing: left out."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(group, column) for column in values.T], axis=1)
    # Rounded, so that what is equal but for the last bit ties.
    return (values - (sums / sizes[:, None])[group]).round(12)[sizes[group] > 1]


def _related(x: np.ndarray, y: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Both correlations with their intervals; nothing where there are too few points or a constant side."""
    if len(x) < FEWEST or np.ptp(x) < TINY or np.ptp(y) < TINY:
        return {}
    counts = _counts(len(x), resamples, seed)
    found = {
        "spearman": _correlation(counts, _ranks(counts, x), _ranks(counts, y)),
        "pearson": _correlation(counts, x, y),
    }
    related: dict[str, float] = {}
    for measure, values in found.items():
        low, high = np.nanquantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        related |= {measure: float(values[0]), f"{measure}_low": float(low), f"{measure}_high": float(high)}
    return related


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
    found = xy / np.sqrt(np.where(varies, xx * yy, 1))
    return np.where(varies, found.clip(-1, 1), np.nan)
