"""Models that learned nothing but one label: their score is that label's share of the test part."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from microtome.analysis.report.frames import percent
from microtome.analysis.report.sections.findings.wording import listed
from microtome.analysis.report.sections.results import Results

RUN = ["model", "fraction", "seed"]


def one_label_only(results: Results, task: str) -> Markup:
    """Which fine-tuned models predict one and the same label for everything, or no label at all."""
    rows = results.rows
    rows = rows[(rows["kind"] == "finetune") & (rows["task"] == task) & (rows["split"] == "test")]
    of_classes = rows[(rows["label"] != "") & (rows["fraction"] > 0)]
    parts = []
    for (model, fraction), of_model in of_classes.groupby(["model", "fraction"], sort=False):
        predicted = [_only_label(run) for _, run in of_model.groupby("seed", dropna=False)]
        runs = [label for label in predicted if label is not None]
        if runs:
            parts.append(_sentence_part(str(model), float(fraction), runs, len(predicted)))
    return Markup("{}.").format(Markup("; ").join(parts)) if parts else Markup("")


def _only_label(run: pd.DataFrame) -> str | None:
    """The one label that a run predicts for everything, "" for none at all, None for a run that tells
    examples apart, from its precision and recall by class."""
    table = run.pivot_table(index="label", columns="metric", values="value")
    if not {"class_precision", "class_recall", "class_support"} <= set(table):
        return None
    gold = table[table["class_support"] > 0]
    if gold.empty:
        return None
    hit = gold[gold["class_recall"] > 0]
    if hit.empty:
        return "" if (table["class_precision"] == 0).all() else None
    if len(hit) > 1 or hit["class_recall"].iloc[0] < 1 or len(gold) < 2:
        return None
    share = hit["class_support"].iloc[0] / gold["class_support"].sum()
    always = np.isclose(hit["class_precision"].iloc[0], share)
    return str(hit.index[0]) if always else None


def _sentence_part(model: str, fraction: float, labels: list[str], runs: int) -> Markup:
    which = f"in {len(labels)} of {runs} runs " if runs > 1 else ""
    about = Markup("with {} of the training data {} {}").format(percent(fraction), model, which)
    names = list(dict.fromkeys(labels))
    if names == [""]:
        return about + Markup("gets none of the labels right")
    named = listed([Markup("<b>{}</b>").format(name or "no label") for name in names])
    return about + Markup("predicts {} for everything: it knows no more than how frequent a label is").format(
        named
    )
