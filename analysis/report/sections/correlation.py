"""The section of what goes with downstream scores: points, correlations, and what they support."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from microtome.analysis.correlation import ALL_TASKS, FEW, claims, correlations, points
from microtome.analysis.report.canvas import (
    MUTED,
    Picture,
    hide,
    legend,
    model_look,
    panels,
    picture,
    short,
    style,
)
from microtome.analysis.report.frames import in_order, metric_name, numbers, percent
from microtome.analysis.report.section import Figure, Section
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import Table, as_table

SUMMARIES = ("best", "mean", "last")  # layers of a predictor that stand for all of them
LEAD = (
    "Whether what is measured in the layers goes with the downstream score of the same model. Over all "
    "points compares every model, fraction and seed of a task; within models asks whether both move "
    "together as training data and seed vary. A correlation is not a cause: more training data moves most"
    " of these at once."
)
CAPTION = (
    "Of each task the predictor whose correlation with the downstream score is best supported: the one "
    "whose 95 % interval stays furthest from zero. A point is one fine-tuned model; larger points had "
    "more training data."
)
METRIC = r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b"
SIZES = (3.0, 8.5)  # markers, from the smallest to the largest fraction


def correlation_section(results: Results) -> Section | None:
    """Claims as sentences, the points of the strongest predictor of each task, and all correlations."""
    found = points(results.tidy)
    found = found[found["layer"].isin(SUMMARIES)]
    if found.empty:
        return None
    related = _in_order(correlations(found), in_order(results.rows["task"]))
    if related.empty:
        return None
    said, about_all = _claims(related)
    return Section(
        ident="correlation",
        title="What goes with the downstream score",
        lead=LEAD,
        findings=said,
        note=about_all,
        figures=_figures(found, related, results.models),
        more=[_table(related)],
    )


def _figures(found: pd.DataFrame, related: pd.DataFrame, models: Sequence[str]) -> list[Figure]:
    """The points of the best supported predictor of each task; nothing where only all tasks together have
    enough points."""
    chosen = strongest(related)
    if chosen.empty:
        return []
    return [
        Figure(
            title="The best supported predictors",
            caption=CAPTION,
            pictures=scatter(found, chosen, models),
            table=as_table(_points(found, chosen), "table-points", "Points of the figure"),
        )
    ]


def _claims(related: pd.DataFrame) -> tuple[dict[str, list[Markup]], str]:
    """The claims by task, and what is about all of them."""
    said: dict[str, list[Markup]] = {task: [] for task in in_order(related["task"])}
    about_all = ""
    for claim in claims(related):
        task = next((task for task in said if claim.startswith(f"{task}, ")), None)
        if task is None:
            about_all = claim
        else:
            said[task].append(_sentence(claim.removeprefix(f"{task}, ")))
    return {task: sentences for task, sentences in said.items() if sentences}, about_all


def _sentence(claim: str) -> Markup:
    """A claim as it is printed: metrics by their names, numbers small."""
    text = re.sub(METRIC, lambda found: metric_name(found.group()), claim)
    text = re.sub(r"-(?=\d)", "\N{MINUS SIGN}", text[0].upper() + text[1:])
    parts = re.split(r"(\(Spearman[^)]*\))", text)
    return Markup("").join(
        Markup("<small>{}</small>").format(part) if part.startswith("(Spearman") else part for part in parts
    )


def _in_order(related: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """The tasks as everywhere on the page, all of them together last."""
    places = {task: place for place, task in enumerate([*tasks, ALL_TASKS])}
    return related.sort_values(
        "task", key=lambda column: column.map(places), kind="stable", ignore_index=True
    )


def strongest(related: pd.DataFrame) -> pd.DataFrame:
    """Of each task, the correlation over all points whose interval is furthest from zero, among those of
    enough points if there are any."""
    over = related[(related["over"] == "points") & (related["task"] != ALL_TASKS)]
    support = np.maximum(over["spearman_low"], -over["spearman_high"])
    ordered = over.assign(enough=over["n"] >= FEW, support=support)
    ordered = ordered.sort_values(["enough", "support"], ascending=False, kind="stable")
    return ordered.drop_duplicates("task").sort_index()


def scatter(found: pd.DataFrame, chosen: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """Downstream score against a predictor: a panel per task, colour by model, size by fraction."""
    fractions = numbers(found["fraction"])
    present = [model for model in models if model in set(found["model"])]
    columns = min(3, len(chosen))
    with style("correlation"):
        rows = -(-len(chosen) // columns)
        entries = len(present) + len(fractions)
        figure, axes = panels(rows, columns, height=2.6, widest=6.0, gap_y=0.95, legend_entries=entries)
        for axis, row in zip(axes.flat, chosen.to_dict("records"), strict=False):
            _scatter_panel(axis, _of(found, row), models, fractions)
            axis.set_title(f"{short(str(row['task']), 24)} · ρ {row['spearman']:.2f}")
            axis.set_xlabel(_predictor(row))
            axis.set_ylabel("downstream score")
        hide(axes.flat[len(chosen) :])
        _legend(figure, present, models, fractions)
        return [picture(figure, "correlation")]


def _scatter_panel(axis: Axes, part: pd.DataFrame, models: Sequence[str], fractions: Sequence[float]) -> None:
    for row in part.to_dict("records"):
        look = {**model_look(models.index(row["model"])), "linestyle": "none", "alpha": 0.8}
        axis.plot([row["x"]], [row["y"]], markersize=_size(row["fraction"], fractions), mew=0, **look)
    axis.margins(0.1)


def _legend(
    figure: Canvas, present: Sequence[str], models: Sequence[str], fractions: Sequence[float]
) -> None:
    """Models by colour and marker, then fractions by size."""
    handles = {
        model: Line2D([], [], **{**model_look(models.index(model)), "linestyle": "none"}, markersize=6, mew=0)
        for model in present
    }
    handles |= {
        percent(fraction): Line2D(
            [], [], color=MUTED, marker="o", linestyle="none", markersize=_size(fraction, fractions), mew=0
        )
        for fraction in fractions
    }
    legend(figure, handles)


def _size(fraction: float, fractions: Sequence[float]) -> float:
    place = list(fractions).index(fraction) / max(1, len(fractions) - 1)
    return SIZES[0] + place * (SIZES[1] - SIZES[0])


def _predictor(row: Mapping[Any, Any]) -> str:
    where = {"best": "best layer", "mean": "mean over layers", "last": "last layer"}[str(row["layer"])]
    about, _, metric = str(row["predictor"]).rpartition(": ")
    return f"{about + ': ' if about else ''}{metric_name(metric)}, {where}"


def _of(found: pd.DataFrame, row: Mapping[Any, Any]) -> pd.DataFrame:
    same = [found[name] == row[name] for name in ("task", "predictor", "layer")]
    return found[np.logical_and.reduce(same)]


def _points(found: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    frame = pd.concat([_of(found, row) for row in chosen.to_dict("records")])
    frame = frame.astype({"seed": "string"}).rename(columns={"x": "predictor value", "y": "downstream score"})
    return frame.reset_index(drop=True)


def _table(related: pd.DataFrame) -> Table:
    """Both correlations with their intervals."""
    names = {f"{name}_{end}": f"{name} {end}" for name in ("spearman", "pearson") for end in ("low", "high")}
    frame = related.rename(columns=names)
    sure = {
        (int(at), "spearman"): "sure"
        for at in np.flatnonzero((frame["spearman low"] > 0) | (frame["spearman high"] < 0))
    }
    title = "Correlations of predictors with the downstream score"
    return as_table(frame, "table-correlations", title, styles=sure)
