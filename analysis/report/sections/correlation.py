"""The section of what goes with downstream scores: points, correlations, and what they support."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from microtome.analysis.correlation import (
    ALL_TASKS,
    MEASURES,
    PREDICTOR,
    Predictor,
    claims,
    correlations,
    points,
)
from microtome.analysis.metrics import PROBE_PRIMARY
from microtome.analysis.report.canvas import (
    MUTED,
    Layout,
    Picture,
    hide,
    legend,
    model_look,
    panels,
    picture,
    set_x_label,
    short,
    title,
)
from microtome.analysis.report.claims import note, predictor_name, sentences
from microtome.analysis.report.frames import in_order, numbers, percent
from microtome.analysis.report.section import Figure, Section
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import Bound, Table, as_table, away_from_zero

SUMMARIES = ("best", "mean", "last")  # layers of a predictor that stand for all of them
LEAD = (
    "Whether what is measured in the layers goes with the downstream score. Both are taken minus their mean "
    "over models at the same task and share of the training data, seeds averaged: more data moves most of "
    "these at once. Across models asks whether a model with the higher value has the higher score; within "
    "models, whether a model that gains more in the one from more data gains more in the other. A "
    "correlation is not a cause."
)
CAPTION = (
    "Of each task the score of its probe at its best layer, and beside it, if that is another, the predictor "
    "whose correlation with the downstream score across models is best supported: the one whose 95 % "
    "interval stays furthest from zero or, with too few models for an interval, the strongest. A point is "
    "one fine-tuned model; larger points had more training data. The axes have the values as measured; the "
    "correlation is of what is left beside the effect of more data."
)
SIZES = (3.0, 8.5)  # markers, from the smallest to the largest fraction


def correlation_section(results: Results) -> Section | None:
    """Claims as sentences, the points of the strongest predictor of each task, and all correlations."""
    all_points = points(results.tidy)
    all_points = all_points[all_points["layer"].isin(SUMMARIES)]
    if all_points.empty:
        return None
    correlated = _in_order(correlations(all_points), in_order(results.rows["task"]))
    if correlated.empty:
        return None
    made = claims(correlated)
    return Section(
        ident="correlation",
        title="What goes with the downstream score",
        lead=LEAD,
        findings=sentences(made),
        note=note(made),
        figures=_figures(all_points, correlated, results.models),
        more=[_table(correlated)],
    )


def _figures(all_points: pd.DataFrame, correlated: pd.DataFrame, models: Sequence[str]) -> list[Figure]:
    """The points of the best supported predictor of each task; nothing where only all tasks together have
    enough points."""
    best = beside_probing(strongest(correlated), correlated)
    if best.empty:
        return []
    return [
        Figure(
            title="Downstream score against probing, and the best supported predictors",
            caption=CAPTION,
            pictures=scatter(all_points, best, models),
            table=as_table(_points(all_points, best), "table-points", "Points of the figure"),
        )
    ]


def _in_order(correlated: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """The tasks as everywhere on the page, all of them together last."""
    places = {task: place for place, task in enumerate(tasks)}
    return correlated.sort_values(
        "task", key=lambda column: column.map(places), kind="stable", ignore_index=True, na_position="last"
    )


def strongest(correlated: pd.DataFrame) -> pd.DataFrame:
    """Of each task, the correlation across models whose interval is furthest from zero; of those without an
    interval, the strongest."""
    over = correlated[
        (correlated["over"] == "across models") & (~correlated["task"].str.startswith(ALL_TASKS))
    ]
    support = np.maximum(over["spearman_low"], -over["spearman_high"])
    ordered = over.assign(support=support, strength=over["spearman"].abs())
    ordered = ordered.sort_values(["support", "strength"], ascending=False, kind="stable")
    return ordered.drop_duplicates("task").sort_index()


def beside_probing(best: pd.DataFrame, correlated: pd.DataFrame) -> pd.DataFrame:
    """Of each task the score of its first probe at its best layer, and the strongest predictor if that is
    another: what is asked first is always shown."""
    over = correlated[(correlated["over"] == "across models") & correlated["task"].isin(best["task"])]
    probing = over[over["metric"].isin(PROBE_PRIMARY) & (over["method"] != "") & (over["layer"] == "best")]
    first = probing.drop_duplicates("task")
    both = pd.concat([first, best]).drop_duplicates(["task", *PREDICTOR, "layer"])
    return both.sort_values("task", key=lambda tasks: tasks.map(list(best["task"]).index), kind="stable")


def scatter(all_points: pd.DataFrame, best: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """Downstream score against a predictor: a panel per task, colour by model, size by fraction."""
    fractions = numbers(all_points["fraction"])
    present = [model for model in models if model in set(all_points["model"])]

    def draw(layout: Layout) -> Canvas:
        columns = layout.columns(len(best), most=3)
        rows = -(-len(best) // columns)
        names = [*present, *map(percent, fractions)]
        figure, axes = panels(layout, rows, columns, height=2.6, gap_y=1.05, bottom=0.65, names=names)
        for axis, row in zip(axes.flat, best.to_dict("records"), strict=False):
            _scatter_panel(axis, _of(all_points, row), models, fractions)
            title(axis, f"{short(str(row['task']), 24)} · ρ {row['spearman']:.2f}")
            set_x_label(axis, _predictor(row))
            axis.set_ylabel("downstream score")
        hide(axes.flat[len(best) :])
        _legend(figure, present, models, fractions)
        return figure

    return [picture(draw, "correlation")]


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
    """The predictor of a row, and the layer it is of, as an axis label."""
    where = {"best": "best layer", "mean": "mean over layers", "last": "last layer"}[str(row["layer"])]
    return f"{predictor_name(Predictor(method=row['method'], metric=row['metric']))}, {where}"


def _with_predictor(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with method and metric as one column of text, for a table."""
    names = [f"{method}: {metric}" if method else metric for method, metric in frame[PREDICTOR].to_numpy()]
    renamed = frame.assign(metric=names).rename(columns={"metric": "predictor"})
    return renamed.drop(columns="method")


def _of(all_points: pd.DataFrame, row: Mapping[Any, Any]) -> pd.DataFrame:
    same = [all_points[name] == row[name] for name in ("task", *PREDICTOR, "layer")]
    return all_points[np.logical_and.reduce(same)]


def _points(all_points: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    frame = _with_predictor(pd.concat([_of(all_points, row) for row in best.to_dict("records")]))
    frame = frame.astype({"seed": "string"}).rename(columns={"x": "predictor value", "y": "downstream score"})
    return frame.reset_index(drop=True)


def _table(correlated: pd.DataFrame) -> Table:
    """Both correlations with their intervals."""
    names: dict[str, Bound | str] = {
        f"{name}_{bound}": Bound(name, bound) for name in MEASURES for bound in ("low", "high")
    }
    names |= {"without_one_low": "lowest without one", "without_one_high": "highest without one"}
    frame = _with_predictor(correlated).rename(columns=names)
    title = "Correlations of predictors with the downstream score; p is of each alone"
    return as_table(frame, "table-correlations", title, styles=away_from_zero(frame, ["spearman"]))
