"""What adaptation did to perplexity on held-out text."""

import pandas as pd
from markupsafe import Markup

from microtome.analysis.report.frames import metric_name
from microtome.analysis.report.sections.findings.wording import MOST_MODELS

PERPLEXITIES = ("perplexity", "masked_perplexity")  # of the next token, and of masked ones: two things


def perplexities(adapted: pd.DataFrame) -> list[Markup]:
    """A sentence of causal models and one of masked models: their perplexities have nothing in common."""
    if not {"before", "after"} <= set(adapted):
        return []
    return [
        sentence
        for metric in PERPLEXITIES
        if (sentence := _of_metric(adapted[adapted["metric"] == metric], metric))
    ]


def _of_metric(rows: pd.DataFrame, metric: str) -> Markup:
    rows = rows.dropna(subset=["before", "after"])
    if rows.empty or len(rows) > MOST_MODELS:
        return Markup("")
    moves = Markup(", ").join(
        Markup("{} <b>{:.1f} → {:.1f}</b>").format(row.model, row.before, row.after)
        for row in rows.itertuples()
    )
    name = metric_name(metric)
    return Markup("{} on held-out text before → after adaptation: {}.").format(
        name[:1].upper() + name[1:], moves
    )
