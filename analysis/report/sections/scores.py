"""The section of downstream scores: learning curves, what fine-tuning gained, and how models differ."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from microtome.analysis.report.canvas import (
    MUTED,
    Layout,
    Picture,
    curve,
    hide,
    legend,
    model_look,
    panels,
    picture,
    short,
    title,
)
from microtome.analysis.report.frames import (
    ITEM,
    ONE_RUN,
    in_order,
    metric_name,
    numbers,
    percent,
    spread,
)
from microtome.analysis.report.section import Figure, Section
from microtome.analysis.report.sections.majority import majority_scores, near
from microtome.analysis.report.sections.overlap import overlap_table
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import Table, as_table, estimates, renamed, shown_styles

# A test document is an example where the corpus names no documents.
BANDS = {
    "interval": " {} are 95 % bootstrap intervals over test documents (and seeds, where there are several).",
    "both": " {} are 95 % bootstrap intervals over test documents for a single run, and one standard "
    "deviation over seeds to either side for several.",
    "deviation": " Lines are means over seeds; {} are one standard deviation over seeds to either side.",
}
CURVES = (
    "Primary score of each task on its test part (higher is better; entity F1 and accuracy run from 0 to 1) "
    "against the share of the training data used for fine-tuning, in per cent. At 0 % the task head is "
    "untrained: this is the floor. The dotted line is what always giving the most frequent label scores; "
    "where it is far from the curves it is left out. A steep start means that little data is enough. Each "
    "task has a vertical axis of its own."
)
MAJORITY = "most frequent label"
DOTS = "Primary score of each task on its test part after fine-tuning; further right is better."
GAINS = (
    "What fine-tuning gained: score minus that of the same model with none of the training data; "
    "bold where several training runs show one, by Holm's correction over the table of the task"
)
DIFFERENCES = (
    "How models differ: score of one model minus that of another, on the same examples; bold where it is "
    "more than chance, by Holm's correction over the table of the task and over several training runs"
)


def scores_section(results: Results) -> Section | None:
    """The primary score against the amount of training data, and every other score in a table."""
    scores = results.primary
    if scores.empty:
        return None
    several = scores["fraction"].nunique() > 1
    figure = Figure(
        title="Learning curves" if several else "Test scores",
        caption=CURVES + bands(scores) if several else DOTS + bands(scores, "Bars"),
        pictures=learning_curves(scores, results.models, majority_scores(results))
        if several
        else score_dots(scores, results.models),
        table=as_table(_long(scores), "table-scores", "Primary score by task, model and share of the data"),
    )
    wide = estimates(
        results.scores, [*ITEM, "fraction"], "metric", in_order(results.scores["metric"]), metric_name
    )
    every = as_table(wide, "table-all-scores", "Every test score")
    tables = [table for table in (_gains(results), _differences(results)) if table]
    overlap = overlap_table(results)
    return Section(
        ident="scores",
        title=figure.title,
        figures=[figure],
        tables=[overlap] if overlap else [],
        more=[*tables, every],
    )


def bands(frame: pd.DataFrame, what: str = "Bands") -> str:
    """What the bands of a figure are, for its caption."""
    has_interval = frame["low"].notna()
    spread = (frame["deviation"].notna() & ~has_interval).any()
    if not has_interval.any() and not spread:
        return ""
    form = "both" if has_interval.any() and spread else "interval" if has_interval.any() else "deviation"
    return BANDS[form].format(what if form != "deviation" else what.lower())


def _long(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores as text and numbers, without what no row has."""
    columns = [*ITEM, "metric", "fraction", "mean", "deviation", "low", "high", "seeds", "n"]
    return renamed(scores[columns].assign(metric=scores["metric"].map(metric_name)), mean="score")


def _gains(results: Results) -> Table | None:
    gains = results.derived_from("finetune", "gain")
    if gains.empty:
        return None
    frame = estimates(gains, ITEM, "fraction", numbers(gains["fraction"]), percent)
    styles = shown_styles(gains, ITEM, "fraction", percent)
    return as_table(frame, "table-gains", GAINS + one_run(gains), styles=styles)


def _differences(results: Results) -> Table | None:
    """A row per model and the model that its score is compared with."""
    pairs = results.derived_from("finetune", "difference")
    if pairs.empty:
        return None
    pairs = pairs.rename(columns={"reference_model": "minus model"})
    index = ["task", "model", "minus model"]
    frame = estimates(pairs, index, "fraction", numbers(pairs["fraction"]), percent)
    styles = shown_styles(pairs, index, "fraction", percent)
    return as_table(frame, "table-differences", DIFFERENCES + one_run(pairs), styles=styles)


def one_run(derived: pd.DataFrame) -> str:
    """What a reader of comparisons has to know where they are of one training run; empty otherwise."""
    single = derived["seeds"] == 1
    if not single.any():
        return ""
    return f" ({ONE_RUN})" if single.all() else f" (with one seed, {ONE_RUN})"


def learning_curves(
    scores: pd.DataFrame, models: Sequence[str], majority: Mapping[str, float]
) -> list[Picture]:
    """Primary score against the share of training data (%): a panel per task, a line per model, and a dotted
    line at the score of the most frequent label, unless it is far below."""
    tasks = in_order(scores["task"])
    ticks = numbers(scores["fraction"])
    present = [model for model in models if model in set(scores["model"])]

    def draw(layout: Layout) -> Canvas:
        lines: dict[str, Line2D] = {}
        columns = layout.columns(len(tasks), most=3)
        rows, names = -(-len(tasks) // columns), [*present, *([MAJORITY] if majority else [])]
        figure, axes = panels(layout, rows, columns, height=2.6, gap_y=0.9, names=names)
        for axis, task in zip(axes.flat, tasks, strict=False):
            part = scores[scores["task"] == task]
            for model, line in part.groupby("model", sort=False):
                lines[str(model)] = curve(
                    axis, line, "fraction", model_look(models.index(str(model))), band=0.15
                )
            if task in majority and near(majority[task], part):
                lines[MAJORITY] = axis.axhline(majority[task], color=MUTED, linewidth=1.1, linestyle=":")
            title(axis, task)
            axis.set_ylabel(metric_name(part["metric"].iloc[0]))
            axis.set_xlabel("training data (%)")
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.margins(y=0.08)
        hide(axes.flat[len(tasks) :])
        legend(figure, {name: lines[name] for name in names if name in lines})
        return figure

    return [picture(draw, "learning-curves")]


def score_dots(scores: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """Primary score at the only fraction there is: a row per task, a marker per model."""
    tasks = in_order(scores["task"])
    metrics = dict(zip(scores["task"], scores["metric"], strict=True))
    present = [model for model in models if model in set(scores["model"])]

    def draw(layout: Layout) -> Canvas:
        lines: dict[str, Line2D] = {}
        height, left = 0.32 * len(tasks) + 0.3, min(2.1, 0.42 * layout.width)
        figure, axes = panels(layout, 1, 1, height=height, left=left, top=0.45, names=present, exact=True)
        axis = axes[0, 0]
        for at, model in enumerate(present):
            part = scores[scores["model"] == model]
            # Models side by side, so that their bars do not hide one another.
            places = np.array([tasks.index(task) for task in part["task"]]) + _offset(at, len(present))
            look = {**model_look(models.index(model)), "linestyle": "none"}
            axis.hlines(places, *spread(part), color=look["color"], linewidth=1.2)
            (lines[model],) = axis.plot(part["mean"], places, markersize=5, **look)
        longest = int(left / 0.065)
        names = [short(f"{short(task, 18)}, {metric_name(metrics[task])}", longest) for task in tasks]
        axis.set_yticks(range(len(tasks)), names)
        axis.set_ylim(len(tasks) - 0.5, -0.5)
        axis.set_xlabel(f"score with {percent(scores['fraction'].iloc[0])} of the training data")
        axis.margins(x=0.08)
        legend(figure, lines)
        return figure

    return [picture(draw, "scores")]


def _offset(at: int, of: int) -> float:
    """The place of one of several within a row of height 1, around its middle."""
    return (at - (of - 1) / 2) * min(0.16, 0.7 / of)
