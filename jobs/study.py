"""The results of a suite: the rows of its jobs, named as the suite names them."""

import pandas as pd

from jobs.plan import Plan
from store.artifacts import Store
from store.results import LABELS, read_rows, tidy


def study_rows(plan: Plan, store: Store) -> pd.DataFrame:
    """One frame of all rows there are so far, in the order of the plan."""
    rows = []
    for job in plan.jobs:
        artifact = store.find(job.request)
        if artifact is None:
            continue
        labels = {name: job.labels.get(name) for name in LABELS}
        rows += [{"suite": plan.suite.name, **labels, **row} for row in read_rows(artifact)]
    return tidy(rows)
