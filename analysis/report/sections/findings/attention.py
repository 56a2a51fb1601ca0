"""Whether fine-tuning changes attention more in later layers than in earlier ones, and in one most."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from scipy.stats import t, ttest_1samp

from microtome.analysis.bootstrap import LEVEL
from microtome.analysis.multiple_tests import holm
from microtome.analysis.report.frames import in_order, percent
from microtome.analysis.report.sections.findings.wording import MOST_MODELS, ONE_RUN_NOTE, listed
from microtome.analysis.report.sections.results import Results

MEASURE = "jensen_shannon"


@dataclass(frozen=True)
class LateOverEarly:
    """How many times as much the later half of a model's layers changed as the earlier half: the geometric
    mean over `runs` training runs with its interval and p of no difference (NaN for one run)."""

    model: str
    ratio: float
    low: float
    high: float
    p: float
    runs: int


def attention_by_depth(results: Results, task: str) -> Markup:
    """Later over earlier layers by model, tested over training runs, by Holm's correction over models; and
    the layer that changed most, where one did."""
    rows = results.rows
    rows = rows[(rows["kind"] == "attention") & (rows["metric"] == MEASURE) & (rows["stage"] == "")]
    rows = rows[(rows["task"] == task) & (rows["fraction"] > 0)].dropna(subset=["layer", "head"])
    rows = rows[rows["fraction"] == rows["fraction"].max()]
    models = in_order(rows["model"])
    if not models or len(models) > MOST_MODELS:
        return Markup("")
    by_model = {model: _by_run(rows[rows["model"] == model]) for model in models}
    ratios = [ratio for model, layers in by_model.items() if (ratio := late_over_early(model, layers))]
    if not ratios:
        return Markup("")
    about = f"Attention with {percent(rows['fraction'].iloc[0])} of the training data{_middle(by_model)}: "
    peaks = [peak for model, layers in by_model.items() if (peak := _peak(model, layers, len(models)))]
    return Markup("; ").join([about + _compared(ratios), *peaks]) + "."


def _middle(by_model: Mapping[str, pd.DataFrame]) -> str:
    """That a layer in the middle is left out, where a model has one."""
    odd = any(layers.shape[1] % 2 for layers in by_model.values())
    return ", a layer in the middle counting as neither later nor earlier" if odd else ""


def late_over_early(model: str, layers: pd.DataFrame) -> LateOverEarly | None:
    """From the mean change of each layer by run: [runs, layers]."""
    depth = layers.columns.to_numpy(np.float64)
    middle = (depth.min() + depth.max()) / 2
    late, early = layers.loc[:, depth > middle].mean(axis=1), layers.loc[:, depth < middle].mean(axis=1)
    if not len(depth[depth > middle]) or not ((late > 0) & (early > 0)).all():
        return None
    logs = np.log((late / early).to_numpy(np.float64))
    mean, runs = float(logs.mean()), len(logs)
    if runs == 1 or logs.std() == 0:
        return LateOverEarly(model, float(np.exp(mean)), np.nan, np.nan, np.nan, runs)
    reach = float(t.ppf((1 + LEVEL) / 2, runs - 1)) * logs.std(ddof=1) / np.sqrt(runs)
    p = float(ttest_1samp(logs, 0).pvalue)
    low, high = np.exp([mean - reach, mean + reach]).tolist()
    return LateOverEarly(model, float(np.exp(mean)), low, high, p, runs)


def _compared(ratios: list[LateOverEarly]) -> Markup:
    """All models in one sentence: what is shown first, then what is not, then single runs."""
    p = holm(np.array([ratio.p for ratio in ratios]))
    decided = {True: [], False: []}  # type: dict[bool, list[Markup]]
    unsure: list[Markup] = []
    single: list[Markup] = []
    for ratio, corrected in zip(ratios, p, strict=True):
        if np.isnan(corrected):
            single.append(Markup("{} {:.1f}").format(ratio.model, ratio.ratio))
            continue
        text = Markup("{} {:.1f} times (95 % interval {:.1f} to {:.1f})").format(
            ratio.model, ratio.ratio, ratio.low, ratio.high
        )
        (decided[ratio.ratio > 1] if corrected <= 1 - LEVEL else unsure).append(text)
    parts = []
    for more, word in ((True, "more"), (False, "less")):
        if decided[more]:
            parts.append(
                Markup("later layers changed <b>{}</b> than earlier ones, {}").format(
                    word, listed(decided[more])
                )
            )
    if unsure:
        parts.append(
            Markup("no difference between later and earlier layers is shown, {}").format(listed(unsure))
        )
    if single:
        parts.append(
            Markup("change in the later half of the layers over that in the earlier half is {} ({})").format(
                listed(single), ONE_RUN_NOTE
            )
        )
    return Markup("; ").join(parts)


def _peak(model: str, layers: pd.DataFrame, models: int) -> Markup:
    """The layer that changed most, if over runs it did so more than each other layer, by Bonferroni's
    correction over layers and models."""
    if len(layers) < 3 or layers.shape[1] < 2:
        return Markup("")
    peak = layers.mean().idxmax()
    others = layers.drop(columns=peak)
    ahead = -others.sub(layers[peak], axis="index")
    if (ahead.std() == 0).any():
        return Markup("")
    p = ttest_1samp(ahead.to_numpy(np.float64), 0).pvalue
    if (p * layers.shape[1] * models > 1 - LEVEL).any():
        return Markup("")
    return Markup(
        "of all layers of {} layer <b>{:g}</b> changed most (mean Jensen–Shannon divergence {:.3f})"
    ).format(model, peak, layers[peak].mean())


def _by_run(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean change over heads: one row per seed, one column per layer."""
    return rows.pivot_table(
        index=rows["seed"].fillna(-1), columns="layer", values="value", aggfunc="mean"
    ).dropna()
