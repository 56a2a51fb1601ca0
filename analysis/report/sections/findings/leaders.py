"""Which model is best on a task, as far as the differences between models are shown."""

import pandas as pd
from markupsafe import Markup

from microtome.analysis.report.frames import metric_name, percent, shown
from microtome.analysis.report.sections.findings.wording import (
    MOST_MODELS,
    ONE_RUN_NOTE,
    interval_text,
    listed,
)
from microtome.analysis.report.sections.results import Results


def leader(results: Results, task: str) -> Markup:
    """The best model with the most training data, or the models that tie for it; one score says nothing."""
    scores = results.primary[results.primary["task"] == task]
    if len(scores) < 2:
        return Markup("")
    ranked = scores[scores["fraction"] == scores["fraction"].max()]
    ranked = ranked.sort_values("mean", ascending=False, kind="stable")
    share, metric = percent(ranked["fraction"].iloc[0]), metric_name(ranked["metric"].iloc[0])
    if len(ranked) == 1:
        best = ranked.iloc[0]
        return Markup("<b>{}</b> reaches {} <b>{:.3f}</b> with {} of the training data.").format(
            best["model"], metric, best["mean"], share
        )
    about = Markup("With {} of the training data {} is ").format(share, metric)
    if (ranked["seeds"] == 1).any():
        return about + Markup("{} ({}, so that no model is called better).").format(
            _scores(ranked), ONE_RUN_NOTE
        )
    ahead = ahead_of_others(results, ranked)
    if ahead is None:
        return about + Markup("{} (not compared).").format(_scores(ranked))
    return about + _ranking(ranked, ahead)


def ahead_of_others(results: Results, ranked: pd.DataFrame) -> pd.DataFrame | None:
    """The best model's score minus that of each other model of `ranked`, best first: model, mean, low, high
    and `shown`, whether it is more than chance. None where a pair was not compared."""
    pairs = results.derived_from("finetune", "difference")
    best = ranked.iloc[0]
    pairs = pairs[(pairs["task"] == best["task"]) & (pairs["fraction"] == best["fraction"])]
    pairs = pairs.assign(shown=shown(pairs))
    columns = ["mean", "low", "high", "shown"]
    forward = pairs[pairs["model"] == best["model"]].set_index("reference_model")[columns]
    backward = pairs[pairs["reference_model"] == best["model"]].set_index("model")[columns]
    flipped = backward.assign(mean=-backward["mean"], low=-backward["high"], high=-backward["low"])
    table = pd.concat([part for part in (forward, flipped) if len(part)] or [forward])
    others = list(ranked["model"].iloc[1:])
    return table.loc[others] if set(others) <= set(table.index) else None


def _ranking(ranked: pd.DataFrame, ahead: pd.DataFrame) -> Markup:
    """The best score, which scores tie with it, and how far the others are behind."""
    scores = dict(zip(ranked["model"], ranked["mean"], strict=True))
    best = ranked["model"].iloc[0]
    tied = ahead[~ahead["shown"]].head(MOST_MODELS)
    behind = ahead[ahead["shown"]].head(MOST_MODELS)
    sentence = Markup("<b>{:.3f}</b> for <b>{}</b>").format(scores[best], best)
    if len(tied):
        others = [
            Markup("{} {:.3f} ({} ahead, {})").format(
                model, scores[model], f"{row['mean']:.3f}", interval_text(row["low"], row["high"])
            )
            for model, row in tied.iterrows()
        ]
        sentence += Markup(", a tie with {}").format(listed(others))
    if len(behind):
        others = [
            Markup("{:.3f} ahead of {} ({})").format(
                row["mean"], model, interval_text(row["low"], row["high"])
            )
            for model, row in behind.iterrows()
        ]
        sentence += Markup(", {}").format(listed(others))
    return sentence + "."


def _scores(ranked: pd.DataFrame) -> Markup:
    return Markup(", ").join(
        Markup("{} <b>{:.3f}</b>").format(row["model"], row["mean"]) for row in ranked.to_dict("records")
    )
