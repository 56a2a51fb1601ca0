"""Where a probe reads a task best, before and after fine-tuning, and how much better."""

import pandas as pd
from markupsafe import Markup

from microtome.analysis.report.frames import in_order, matches, shown
from microtome.analysis.report.sections.best_layers import layer_ranges, tied_layers
from microtome.analysis.report.sections.findings.wording import (
    MOST_MODELS,
    ONE_RUN_NOTE,
    interval_text,
    listed,
)
from microtome.analysis.report.sections.results import Results, best_layers, first_probe


def best_layer_moves(results: Results, task: str) -> Markup:
    """The best layer of each model before and after, each with the layers that tie with it. It moved where
    no layer is among the best both times."""
    probes = _probes(results, task)
    stages = _stages(probes)
    if not stages or len(stages) > MOST_MODELS:
        return Markup("")
    moves, parts, one_run = [], [], False
    for model, (before, after) in stages.items():
        best = [best_layers(stage)["layer"].iloc[0] for stage in (before, after)]
        sets = [tied_layers(results, stage) for stage in (before, after)]
        one_run |= bool((after["seeds"] == 1).all())
        moved = not set(sets[0]) & set(sets[1]) and (after["seeds"] > 1).all()
        moves += [model] if moved else []
        ties = [f"{layer:g} (tied: {layer_ranges(tied)})" for layer, tied in zip(best, sets, strict=True)]
        parts.append(Markup("{} {} → {}").format(model, *ties))
    sentence = Markup("Best layer for a {} probe before → after fine-tuning: {}").format(
        probes["probe"].iloc[0], Markup(", ").join(parts)
    )
    if moves:
        return sentence + Markup("; it moved in <b>{}</b>.").format(listed(moves))
    note = f" ({ONE_RUN_NOTE})" if one_run else ""
    return sentence + Markup("; no move is shown{}.").format(note)


def best_layer_rises(results: Results, task: str) -> Markup:
    """How far the score of the best layer after fine-tuning is above that of the best layer before, of the
    models where that is shown."""
    probes = _probes(results, task)
    gains = results.derived_from("probe", "best_layer_gain")
    parts = []
    for model, (_, after) in _stages(probes).items():
        best = best_layers(after).iloc[0]
        keys = ["task", "model", "probe", "fraction", "layer", "metric"]
        gain = gains[matches(gains, best, keys)]
        gain = gain[shown(gain)]
        if len(gain):
            row = gain.iloc[0]
            change = "rises" if row["mean"] > 0 else "falls"
            parts.append(
                Markup("of {} it {} by <b>{:.3f}</b> ({})").format(
                    model, change, abs(row["mean"]), interval_text(row["low"], row["high"])
                )
            )
    if not parts or len(parts) > MOST_MODELS:
        return Markup("")
    return Markup("The score of the best layer for a {} probe with fine-tuning: {}.").format(
        probes["probe"].iloc[0], listed(parts)
    )


def _probes(results: Results, task: str) -> pd.DataFrame:
    return first_probe(results.probes[results.probes["task"] == task])


def _stages(probes: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """By model, the scores of its layers before fine-tuning and after, with the most training data."""
    stages = {}
    for model in in_order(probes["model"]):
        of_model = probes[probes["model"] == model]
        before = of_model[of_model["fraction"] == 0]
        after = of_model[(of_model["fraction"] > 0) & (of_model["fraction"] == of_model["fraction"].max())]
        if len(before) and len(after):
            stages[model] = before, after
    return stages
