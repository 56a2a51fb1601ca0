"""The sections of language modelling: adaptation to a corpus, generated text, and answers without a head."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from microtome.analysis.report.canvas import (
    Layout,
    Picture,
    curve,
    hide,
    legend,
    model_look,
    panels,
    picture,
)
from microtome.analysis.report.frames import ITEM, first_split, in_order, metric_name, over_seeds
from microtome.analysis.report.section import Figure, Section
from microtome.analysis.report.sections.classes import answer_classes
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import as_table, estimates

ADAPTATION = "Loss in nats per token and perplexity: lower is better. Accuracy: higher is better."
CURVES = (
    "Scores on held-out text after so many passes over the corpus. Perplexities of models with different "
    "vocabularies cannot be compared with one another."
)
GENERATION = (
    "Texts that the models continued: tokens per text, distinct bigrams over all bigrams (lower is more "
    "repetitive), and the share of 4-grams that the same text had before (higher is more repetitive)."
)
ANSWERS = (
    "Questions answered by the likelihood of each answer, without fine-tuning, beside always giving the most "
    "frequent answer (majority)."
)
PERPLEXITIES = ("perplexity", "masked_perplexity")
CURVE_METRICS = ("token_accuracy", *PERPLEXITIES)
WIDE_RANGE = 20.0  # from here on an axis is logarithmic


def adaptation_section(results: Results) -> Section | None:
    """The language-model scores around adaptation: by epoch where there are several, and before and after."""
    frame = results.adapted
    if frame.empty:
        return None
    named = frame.assign(metric=frame["metric"].map(metric_name))
    table = as_table(named, "table-adaptation", "Language-model scores on held-out text")
    by_epoch = _by_epoch(results.rows)
    return Section(
        ident="adaptation",
        title="Language-model adaptation",
        lead=ADAPTATION,
        tables=[table],
        figures=[_curves(by_epoch, results.models)] if len(by_epoch) else [],
    )


def _by_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores by model, metric and epoch of the models that were scored on the way."""
    selected = rows[(rows["kind"] == "adapt") & rows["epoch"].notna()]
    scored_during = set(selected.loc[selected["stage"] == "during", "model"])
    selected = selected[selected["model"].isin(scored_during)]
    return over_seeds(first_split(selected), ["model", "metric", "epoch"]) if len(selected) else selected


def _curves(by_epoch: pd.DataFrame, models: Sequence[str]) -> Figure:
    wide = estimates(by_epoch, ["model", "epoch"], "metric", in_order(by_epoch["metric"]), metric_name)
    return Figure(
        title="Adaptation, epoch by epoch",
        caption=CURVES,
        pictures=adaptation_curves(by_epoch, models),
        table=as_table(wide, "table-adaptation-epochs", "Scores on held-out text by epoch"),
    )


def adaptation_curves(by_epoch: pd.DataFrame, models: Sequence[str]) -> list[Picture]:
    """A panel per metric, a line per model."""
    metrics = [metric for metric in CURVE_METRICS if metric in set(by_epoch["metric"])]
    metrics = metrics or in_order(by_epoch["metric"])[:1]

    def draw(layout: Layout) -> Canvas:
        lines: dict[str, Line2D] = {}
        columns = layout.columns(len(metrics), most=3)
        rows, names = -(-len(metrics) // columns), in_order(by_epoch["model"])
        figure, axes = panels(layout, rows, columns, height=2.3, names=names)
        for axis, metric in zip(axes.flat, metrics, strict=False):
            part = by_epoch[by_epoch["metric"] == metric]
            for model in in_order(part["model"]):
                look = {**model_look(models.index(model)), "markersize": 3}
                lines[model] = curve(axis, part[part["model"] == model], "epoch", look)
            positive = part["mean"].min() > 0
            wide = positive and part["mean"].max() / part["mean"].min() > WIDE_RANGE
            if metric in PERPLEXITIES and wide:
                axis.set_yscale("log")
                axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_ylabel(metric_name(metric))
            axis.set_xlabel("epoch")
        hide(axes.flat[len(metrics) :])
        legend(figure, lines)
        return figure

    return [picture(draw, "adaptation")]


def generation_section(results: Results) -> Section | None:
    """How long and how repetitive generated texts are; the texts themselves are not in the rows."""
    rows = results.rows
    selected = rows[rows["kind"] == "generate"]
    if selected.empty:
        return None
    summary = over_seeds(selected, ["model", "metric"])
    wide = estimates(summary, ["model"], "metric", in_order(summary["metric"]), metric_name)
    texts = summary[summary["metric"] == "generated_tokens"].set_index("model")["n"]
    if len(texts):
        wide.insert(1, "n", wide["model"].map(texts))
    table = as_table(wide, "table-generation", "Statistics of generated text; n is how many texts")
    return Section(ident="generation", title="Generated text", lead=GENERATION, tables=[table])


def answers_section(results: Results) -> Section | None:
    """Accuracy of answers, beside the majority."""
    rows = results.rows
    selected = rows[(rows["kind"] == "answer") & (rows["label"] == "")]
    if selected.empty:
        return None
    summary = over_seeds(selected, [*ITEM, "metric"])
    wide = estimates(summary, ITEM, "metric", in_order(summary["metric"]), metric_name)
    wide.insert(2, "n", np.asarray(summary.groupby(ITEM, sort=False)["n"].max()))
    table = as_table(wide, "table-answers", "Answers; n is how many questions")
    return Section(
        ident="answers",
        title="Questions answered",
        lead=ANSWERS,
        tables=[table],
        more=answer_classes(results),
    )
