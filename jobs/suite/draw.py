"""Draws the page of a study from its rows and costs. pandas and matplotlib come with it."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from microtome.analysis.report.canvas import Form
from microtome.analysis.report.page import write_report
from microtome.jobs.kinds import kind_named
from microtome.jobs.suite.methods import corpora, settings
from microtome.jobs.suite.page_sources import page_provenance
from microtome.jobs.suite.plan import Plan
from microtome.jobs.suite.results import derived_rows, measured_rows, without_places
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import InputError


def draw_page(
    plan: Plan,
    artifacts: Mapping[str, Artifact],
    store: Store,
    out: Path,
    sources: str,
    figures: Form | None = None,
) -> Path:
    """Write `out/index.html` of the suite's results so far; `sources` is the digest of what it is made of.

    InputError if there are no results yet.
    """
    rows = measured_rows(plan, store)
    if rows.empty:
        raise InputError(
            f"no results yet for suite '{plan.suite.name}'; run: microtome suite run {plan.suite.typed}"
        )
    measured, derived = without_places(rows, derived_rows(plan, store))
    return write_report(
        measured,
        out,
        derived=derived,
        suite=plan.suite.name,
        description=plan.suite.description,
        provenance=page_provenance(plan, store),
        costs=_costs(artifacts),
        figures=figures,
        sources=sources,
        corpora=corpora(plan, artifacts),
        settings=settings(plan),
    )


def _costs(artifacts: Mapping[str, Artifact]) -> pd.DataFrame:
    """What the jobs that are done took, by kind: how many, seconds, and bytes on disk."""
    rows = [
        {
            "kind": kind_named(artifact.kind).title,
            "jobs": 1,
            "seconds": artifact.provenance.get("seconds", 0.0),
            "bytes": artifact.bytes(),
        }
        for artifact in artifacts.values()
    ]
    frame = pd.DataFrame(rows, columns=["kind", "jobs", "seconds", "bytes"])
    return frame.groupby("kind", sort=False, as_index=False).sum()
