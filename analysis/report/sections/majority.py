"""What always giving the most frequent label scores on a task, from the support of its classes."""

import pandas as pd

from microtome.analysis.report.sections.results import Results


def majority_scores(results: Results) -> dict[str, float]:
    """By task, in its primary metric: for accuracy the share of the most frequent gold label of the test
    part, for F1 over entities 0, as most words are of none. Tasks with other metrics are left out."""
    rows = results.rows
    support = rows[
        (rows["kind"] == "finetune") & (rows["metric"] == "class_support") & (rows["split"] == "test")
    ]
    scores = {}
    for task, part in results.primary.groupby("task", sort=False):
        metric = part["metric"].iloc[0]
        of_task = support[support["task"] == task].drop_duplicates("label")["value"]
        if metric == "entity_f1":
            scores[str(task)] = 0.0
        elif metric == "accuracy" and of_task.sum() > 0:
            scores[str(task)] = float(of_task.max() / of_task.sum())
    return scores


def near(majority: float, scores: pd.DataFrame, reach: float = 1.0) -> bool:
    """Whether a line at the majority leaves room for the curves of `scores`: it is at most `reach` times
    their range away."""
    low, high = scores["mean"].min(), scores["mean"].max()
    return low - reach * (high - low) <= majority <= high + reach * (high - low)
