"""The sentences at the top of the page, each computed from the results."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from microtome.analysis.report.frames import (
    ITEM,
    in_order,
    metric_name,
    numbers,
    percent,
)
from microtome.analysis.report.sections.results import Results, best_layers, fine_tuned, first_probe

OVERALL = "Overall"
MOST_MODELS = 6  # a sentence that lists more models than this is no longer read


def key_findings(results: Results) -> dict[str, list[Markup]]:
    """What the numbers say, as sentences by task; what is about no single task comes last, under "Overall".

    A result that is not there has no sentence, and a task without a sentence is left out.
    """
    by_task: dict[str, list[Markup]] = {task: [] for task in in_order(results.rows["task"])}
    differences = results.derived_from("finetune", "difference")
    for task, part in results.primary.groupby("task", sort=False):
        pairs = differences[differences["task"] == task]
        by_task[str(task)] += [_leader(part, pairs), _economy(part)]
    for task, part in first_probe(results.probes).groupby("task", sort=False):
        by_task[str(task)].append(_best_layers(part))
    by_task[OVERALL] = [
        _attention(fine_tuned(results.attention["jensen_shannon"])),
        _perplexity(results.adapted),
    ]
    non_empty = {
        task: [sentence for sentence in sentences if sentence] for task, sentences in by_task.items()
    }
    return {task: sentences for task, sentences in non_empty.items() if sentences}


def _leader(scores: pd.DataFrame, pairs: pd.DataFrame) -> Markup:
    """Which model is best on a task with the most training data, by how much, and whether that is more than
    chance, as far as `pairs` say; one score says nothing of it."""
    if len(scores) == 1:
        return Markup("")
    most = scores["fraction"].max()
    ranked = scores[scores["fraction"] == most].sort_values("mean", ascending=False, kind="stable")
    best = ranked.iloc[0]
    if len(ranked) > 1 and (ranked["seeds"] == 1).any():
        return _without_a_winner(ranked, str(best["metric"]), percent(most))
    sentence = Markup("<b>{}</b> reaches {} <b>{:.3f}</b> with {} of the training data").format(
        best["model"], metric_name(best["metric"]), best["mean"], percent(most)
    )
    if len(ranked) == 1:
        return sentence + "."
    second = ranked.iloc[1]
    ahead = best["mean"] - second["mean"]
    sure = _interval(pairs[pairs["fraction"] == most], str(best["model"]), str(second["model"]))
    return sentence + Markup(", {:.3f} ahead of {}{}.").format(ahead, second["model"], sure)


def _without_a_winner(ranked: pd.DataFrame, metric: str, share: str) -> Markup:
    """The scores of single training runs: which model would win again is not known."""
    scores = Markup(", ").join(
        Markup("{} <b>{:.3f}</b>").format(row["model"], row["mean"]) for row in ranked.to_dict("records")
    )
    return Markup(
        "With {} of the training data {} is {} (one training run: its luck is in no interval, so that no "
        "model is called better)."
    ).format(share, metric_name(metric), scores)


def _interval(pairs: pd.DataFrame, better: str, other: str) -> str:
    """The interval of how far one model is ahead of another, in whichever direction it was computed."""
    for one, two, sign in ((better, other, 1), (other, better, -1)):
        pair = pairs[(pairs["model"] == one) & (pairs["reference_model"] == two)]
        if len(pair):
            low, high = sorted(sign * pair[["low", "high"]].iloc[0].to_numpy(np.float64))
            verdict = "" if low > 0 else ": they are not told apart"
            numbers = f"{low:.3f} to {high:.3f}".replace("-", "\N{MINUS SIGN}")
            return f" (95 % interval {numbers}{verdict})"
    return ""


def _economy(scores: pd.DataFrame) -> Markup:
    """How much of the gain from fine-tuning the smallest training set already brings, mean over models."""
    wide = scores.pivot_table(index="model", columns="fraction", values="mean", sort=True)
    fractions = numbers(scores["fraction"])
    if len(fractions) < 3 or fractions[0] != 0:
        return Markup("")
    some, most = fractions[1], fractions[-1]
    gain = wide[most] - wide[0]
    shares = ((wide[some] - wide[0]) / gain)[gain > 0].dropna()
    if shares.empty:
        return Markup("")
    return Markup("{} of the training data brings <b>{:.0f} %</b> of the gain of {}{}.").format(
        percent(some),
        100 * shares.mean(),
        percent(most),
        f", on average over {len(shares)} models" if len(shares) > 1 else "",
    )


def _best_layers(probes: pd.DataFrame) -> Markup:
    """Where a probe reads a task best before fine-tuning, and where after."""
    best = best_layers(probes).sort_values("fraction", kind="stable")
    before = best[best["fraction"] == 0].set_index("model")
    after = best[best["fraction"] > 0].drop_duplicates(ITEM, keep="last").set_index("model")
    both = [model for model in in_order(probes["model"]) if model in before.index and model in after.index]
    if not both or len(both) > MOST_MODELS:
        return Markup("")
    moves = Markup(", ").join(
        Markup("{} <b>{:g} → {:g}</b>").format(model, before["layer"][model], after["layer"][model])
        for model in both
    )
    rise = (after["mean"][both] - before["mean"][both]).mean()
    return Markup(
        "Best layer for a {} probe before → after fine-tuning: {}; its score {} by <b>{:.3f}</b>{}."
    ).format(
        probes["probe"].iloc[0],
        moves,
        "rises" if rise >= 0 else "falls",
        abs(rise),
        " on average" if len(both) > 1 else "",
    )


def _attention(heads: pd.DataFrame) -> Markup:
    """Which layer's attention changed most, and whether change sits in the earlier or the later layers."""
    if heads.empty:
        return Markup("")
    layers = heads.groupby([*ITEM, "fraction", "layer"], sort=False)["mean"].mean().reset_index()
    peak = layers.iloc[int(layers["mean"].argmax())]
    sentence = Markup(
        "Attention changed most in layer <b>{:g}</b> of {} on {} with {} of the data "
        "(mean Jensen–Shannon divergence {:.3f})"
    ).format(peak["layer"], peak["model"], peak["task"], percent(peak["fraction"]), peak["mean"])
    depth = layers["layer"] / layers.groupby("model")["layer"].transform("max").replace(0, np.nan)
    early, late = layers["mean"][depth < 0.5].mean(), layers["mean"][depth > 0.5].mean()
    if not (early > 0 and late > 0):
        return sentence + "."
    halves = Markup("; the later half of the layers changed {:.1f} times as much as the earlier half.")
    return sentence + halves.format(late / early)


def _perplexity(adapted: pd.DataFrame) -> Markup:
    """What adaptation did to the perplexity on held-out text."""
    if not {"before", "after"} <= set(adapted):
        return Markup("")
    rows = adapted[adapted["metric"] == "perplexity"].dropna(subset=["before", "after"])
    if rows.empty or len(rows) > MOST_MODELS:
        return Markup("")
    moves = Markup(", ").join(
        Markup("{} <b>{:.1f} → {:.1f}</b>").format(row.model, row.before, row.after)
        for row in rows.itertuples()
    )
    return Markup("Perplexity on held-out text before → after adaptation: {}.").format(moves)
