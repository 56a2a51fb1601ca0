"""The results of a suite: the rows of its jobs, named as the suite names them, beside what was published."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.metrics import FULL_NAMES
from jobs.plan import Plan
from jobs.tasks import Published, load_task
from store.artifacts import Store
from store.results import LABELS, read_rows, tidy


def study_rows(plan: Plan, store: Store) -> pd.DataFrame:
    """One frame of all rows there are so far, in the order of the plan."""
    published = {task: load_task(task).published for task in plan.suite.tasks}
    rows = []
    for job in plan.jobs:
        artifact = store.find(job.request)
        if artifact is None:
            continue
        labels = {name: job.labels.get(name) for name in LABELS}
        known = published.get(str(labels["task"]), ()) if job.kind == "finetune" else ()
        for row in read_rows(artifact):
            row = {"suite": plan.suite.name, **labels, **row, "name": FULL_NAMES.get(row["metric"])}
            rows.append(row | comparable(row, known))
    return tidy(rows)


def comparable(row: Mapping[str, Any], published: tuple[Published, ...]) -> dict[str, Any]:
    """The published score of a test row: that of the same model if there is one, else the first."""
    same = [p for p in published if p.metric == row["metric"] and row.get("split") == "test"]
    same.sort(key=lambda p: p.model != row.get("model"))
    if not same:
        return {}
    return {"published": same[0].value, "source": f"{same[0].source} ({same[0].model})"}
