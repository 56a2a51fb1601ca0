"""What the jobs of a suite took that are done: on which device, for how long, how much memory and disk."""

from typing import Any

import pandas as pd

from microtome.jobs.suite.plan import Plan
from microtome.store.artifacts.store import Store

SPENT = {
    "device": "string",
    "gpu": "string",
    "seconds": "Float64",
    "attempts": "Int64",
    "seconds_lost": "Float64",
    "device_seconds": "Float64",
    "peak_memory": "Int64",
    "energy_joules": "Float64",
}
COLUMNS = {
    "kind": "string",
    "job": "string",
    **SPENT,
    "bytes": "Int64",
    "made": "string",
    "artifact": "string",
}


def spent_table(plan: Plan, store: Store) -> pd.DataFrame:
    """One row per job that is done, in the order of the plan.

    `seconds` from its beginning to its end, in all its `attempts`; `seconds_lost` of them after the last save
    of an attempt that was stopped, or killed with its machine; `device_seconds` with a model on the device;
    `peak_memory` and `bytes` on disk in bytes. Missing where nothing was noted; a job that was never stopped
    has neither attempts nor seconds lost.
    """
    return pd.DataFrame(_rows(plan, store), columns=list(COLUMNS)).astype(COLUMNS)


def _rows(plan: Plan, store: Store) -> list[dict[str, Any]]:
    artifacts = store.find_all(job.request for job in plan.jobs)
    return [
        {
            "kind": job.kind,
            "job": job.slug,
            **{name: artifact.provenance.get(name) for name in SPENT},
            "bytes": artifact.bytes(),
            "made": artifact.provenance["made"],
            "artifact": artifact.id,
        }
        for job in plan.jobs
        if (artifact := artifacts.get(job.id)) is not None
    ]
