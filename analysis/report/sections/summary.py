"""The first section: what the numbers say in sentences, and one row per task and model."""

import numpy as np
import pandas as pd

from microtome.analysis.report.frames import ITEM, metric_name, numbers, percent, shown
from microtome.analysis.report.section import Section
from microtome.analysis.report.sections.best_layers import TIED, with_tied_layers
from microtome.analysis.report.sections.findings import key_findings
from microtome.analysis.report.sections.findings.leaders import ahead_of_others
from microtome.analysis.report.sections.results import Results, best_layers, first_probe
from microtome.analysis.report.tables import (
    Bound,
    Styles,
    as_table,
    bounds_of,
    estimates,
    printed_columns,
)

GAIN_NOTE = (
    "The gain is the score with the most training data minus the score with none, bold where several "
    "training runs show one, by Holm's correction over the task. "
)
BEST_NOTE = "A score is marked as best where it is shown to be above those of all other models. "
BOUNDS_NOTE = (
    "Below a number stands its 95 % bootstrap interval over test documents (and seeds, where there are "
    "several), or else ± its standard deviation over seeds."
)


def summary_section(results: Results) -> Section | None:
    """The computed sentences, and one row per task and model."""
    sentences = key_findings(results)
    frame = summary(results)
    if frame.empty:
        return Section(ident="summary", title="Summary", findings=sentences) if sentences else None
    shares = [percent(fraction) for fraction in numbers(results.primary["fraction"])]
    printed = printed_columns(frame)
    scored = len(shares) + ("gain" in frame)
    groups = [("", 3 if shares else 2), ("score with this share of the training data", scored)]
    groups += [("best probe layer, and its score", len(printed) - sum(span for _, span in groups))]
    best = _best_styles(results, frame)
    table = as_table(
        frame,
        "table-summary",
        "Scores and best probe layers",
        groups=tuple((label, span) for label, span in groups if span),
        styles=best | _gain_styles(results, frame),
    )
    noted = any(cell.note for row in table.cells for cell in row)
    note = (BEST_NOTE if best else "") + (GAIN_NOTE if "gain" in frame else "")
    note += (TIED if len(results.probes) else "") + (BOUNDS_NOTE if noted else "")
    return Section(ident="summary", title="Summary", note=note, findings=sentences, tables=[table])


def summary(results: Results) -> pd.DataFrame:
    """Per task and model: the primary metric at each fraction, its gain over 0 %, best probe layers.

    The gain is the score at the largest fraction minus the score at 0 %. "before" is the pretrained
    model, "after" the model fine-tuned on the largest fraction that was probed.
    """
    scores, probes = results.primary, results.probes
    fractions = numbers(scores["fraction"])
    frame = pd.concat([scores[ITEM], probes[ITEM]]).drop_duplicates()
    place = {task: number for number, task in enumerate(frame["task"].unique())}  # a model may be probed only
    frame = frame.sort_values("task", key=lambda tasks: tasks.map(place), kind="stable", ignore_index=True)
    if fractions:
        wide = estimates(scores, [*ITEM, "metric"], "fraction", fractions, percent)
        frame = frame.merge(wide.assign(metric=wide["metric"].map(metric_name)), on=ITEM, how="left")
    if len(fractions) > 1 and fractions[0] == 0:
        frame["gain"] = frame[percent(fractions[-1])] - frame[percent(0)]
        frame = _with_intervals(frame, results.derived_from("finetune", "gain"), fractions[-1])
    if not probes.empty:
        first = first_probe(probes)
        probed = with_tied_layers(results, first, best_layers(first)).sort_values("fraction")
        before = probed[probed["fraction"] == 0]
        after = probed[probed["fraction"] > 0].drop_duplicates(ITEM, keep="last")
        for part, name in ((before, "before"), (after, "after")):
            columns = {
                "layer": f"layer {name}",
                "tied": f"tied {name}",
                "mean": f"score {name}",
                **bounds_of(f"score {name}"),
            }
            frame = frame.merge(part[[*ITEM, *columns]].rename(columns=columns), on=ITEM, how="left")
    return frame.dropna(axis="columns", how="all")


def _with_intervals(frame: pd.DataFrame, gains: pd.DataFrame, fraction: float) -> pd.DataFrame:
    """The summary with the intervals of its gains, where there are any."""
    selected = gains[gains["fraction"] == fraction].drop_duplicates(ITEM)
    bounds = selected[[*ITEM, "low", "high"]].rename(columns=bounds_of("gain"))
    merged = frame.merge(bounds, on=ITEM, how="left")
    merged.loc[merged["gain"].isna(), [Bound("gain", "low"), Bound("gain", "high")]] = np.nan
    return merged


def _best_styles(results: Results, frame: pd.DataFrame) -> Styles:
    """The style of each task's best model at each fraction, where it is shown to be ahead of all others."""
    styles: Styles = {}
    for (task, _), part in results.primary.groupby(["task", "fraction"], sort=False):
        ranked = part.sort_values("mean", ascending=False, kind="stable")
        ahead = ahead_of_others(results, ranked)
        if ahead is not None and len(ahead) and ahead["shown"].all():
            same = (frame["task"] == task) & (frame["model"] == ranked["model"].iloc[0])
            styles |= {
                (int(row), percent(float(part["fraction"].iloc[0]))): "best" for row in np.flatnonzero(same)
            }
    return styles


def _gain_styles(results: Results, frame: pd.DataFrame) -> Styles:
    """The style of the gains that are shown."""
    gains = results.derived_from("finetune", "gain")
    if "gain" not in frame or gains.empty:
        return {}
    most = gains[gains["fraction"] == results.primary["fraction"].max()]
    sure = set(most.loc[shown(most), ITEM].itertuples(index=False, name=None))
    return {
        (row, "gain"): "sure"
        for row, key in enumerate(zip(frame["task"], frame["model"], strict=True))
        if key in sure
    }
