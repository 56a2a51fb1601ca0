"""The section of scores by class, and of published scores beside ours."""

import pandas as pd

from microtome.analysis.report.frames import ITEM, metric_name, over_seeds, percent
from microtome.analysis.report.section import Section
from microtome.analysis.report.sections.confusion import confusion_figure
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import BOUNDS, Table, as_table, bounds_of, estimates

CLASS_METRICS = ("class_precision", "class_recall", "class_f1")
LEAD = (
    "Precision, recall and F1 of every class on the test part, and its support, the number of gold examples; "
    "of each model with {share} of the training data. ± is the standard deviation over seeds."
)
PUBLISHED = (
    "A published score is of the setting that its source describes. It is not the same setting as ours, even "
    "where the model has the same name: training, splits and scoring may differ."
)


def classes_section(results: Results) -> Section | None:
    """A table per task: classes down, models side by side."""
    rows = results.rows
    selected = _largest(rows[(rows["kind"] == "finetune") & rows["metric"].str.startswith("class_")])
    scores = _class_scores(selected)
    if scores.empty:
        return None
    tables = [
        class_table(part, results.models_in(part), f"table-classes-{at}", f"{task}, by class")
        for at, (task, part) in enumerate(scores.groupby("task", sort=False))
    ]
    shares = " or ".join(percent(fraction) for fraction in sorted(set(selected["fraction"]), reverse=True))
    confused = confusion_figure(results, "finetune")
    return Section(
        ident="classes",
        title="Scores by class",
        lead=LEAD.format(share=shares),
        tables=tables,
        figures=[confused] if confused else [],
    )


def class_table(scores: pd.DataFrame, models: list[str], ident: str, title: str) -> Table:
    """Precision, recall and F1 by class, models side by side, from means by model, label and metric."""
    columns = {(model, metric): f"{model} {metric}" for model in models for metric in CLASS_METRICS}
    pairs = zip(scores["model"], scores["metric"], strict=True)
    scores = scores.assign(column=pd.Series([columns.get(pair) for pair in pairs], index=scores.index))
    frame = estimates(scores.dropna(subset="column"), ["label"], "column", list(columns.values()))
    support = scores[scores["metric"] == "class_support"].groupby("label")["mean"].max()
    frame.insert(1, "support", frame["label"].map(support))
    frame = frame.rename(columns={"label": "class"}).dropna(axis="columns", how="all")
    spans = [(model, sum(columns[model, metric] in frame for metric in CLASS_METRICS)) for model in models]
    heads = {name: metric_name(metric) for (_, metric), name in columns.items()}
    return as_table(frame, ident, title, groups=(("", 2), *spans), heads=heads)


def _class_scores(rows: pd.DataFrame) -> pd.DataFrame:
    selected = rows[(rows["label"] != "") & ((rows["split"] == "test") | (rows["split"] == ""))]
    return over_seeds(selected, [*ITEM, "label", "metric"])


def probe_classes(results: Results) -> list[Table]:
    """The same of probes on the layer that is best for each."""
    rows = results.rows
    rows = _largest(rows[(rows["kind"] == "probe") & rows["metric"].str.startswith("class_")])
    tables = []
    for at, ((task, probe), part) in enumerate(rows.groupby(["task", "probe"], sort=False)):
        title = f"{task}, {probe} probe on its best layer, by class"
        scores = _class_scores(part)
        tables.append(class_table(scores, results.models_in(scores), f"table-probe-classes-{at}", title))
    return tables


def answer_classes(results: Results) -> list[Table]:
    """The same of questions that were answered without fine-tuning."""
    rows = results.rows
    scores = _class_scores(
        rows[(rows["kind"] == "answer") & rows["metric"].str.startswith("class_")].assign(split="")
    )
    return [
        class_table(part, results.models_in(part), f"table-answer-classes-{at}", f"{task}, answers by class")
        for at, (task, part) in enumerate(scores.groupby("task", sort=False))
    ]


def _largest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the largest fraction of each task."""
    return rows[rows["fraction"] == rows.groupby("task")["fraction"].transform("max")]


def published_section(results: Results) -> Section | None:
    """Ours beside what others reported, at the largest fraction."""
    rows = results.rows
    compared = rows[(rows["kind"] == "finetune") & rows["published"].notna() & (rows["label"] == "")]
    if compared.empty:
        return None
    keys, published = [*ITEM, "metric"], ["published", "published_model", "source"]
    scores = _largest(compared).drop_duplicates(keys)[[*keys, "fraction", *published]]
    ours = results.scores.merge(scores, on=[*keys, "fraction"])
    frame = ours[[*keys, "fraction", "mean", *BOUNDS, "published"]].rename(
        columns={"mean": "ours", **bounds_of("ours")}
    )
    frame["metric"] = frame["metric"].map(metric_name)
    frame["difference"] = frame["ours"] - frame["published"]
    frame["setting"] = [
        _setting(same, fraction)
        for same, fraction in zip(ours["model"] == ours["published_model"], ours["fraction"], strict=True)
    ]
    frame["published model"] = ours["published_model"]
    frame["source"] = ours["source"]
    table = as_table(
        frame.dropna(axis="columns", how="all"), "table-published", "Published scores beside ours"
    )
    return Section(ident="published", title="Published scores", lead=PUBLISHED, tables=[table])


def _setting(same_model: bool, fraction: float) -> str:
    """How the setting of a published score differs from ours, as far as the rows say."""
    share = "" if fraction == 100 else f", {percent(fraction)} of the data"
    return ("model of the same name" if same_model else "another model") + share
