"""The results of a suite: the rows of its jobs, named as the suite names them, beside what was published."""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from microtome.analysis.bootstrap import Interval, difference, interval
from microtome.analysis.metrics import full_name
from microtome.analysis.metrics.terms import MetricTerms, ScoreKey, read_metric_terms
from microtome.jobs.suite.plan import Plan
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.published import published_columns, published_score
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.results import LABELS, read_rows, tidy

Item = tuple[str, str, ScoreKey]  # kind, task, and what was scored
Scores = dict[Item, dict[tuple[str, float], list[MetricTerms]]]  # model, fraction -> one score per seed


def study_rows(plan: Plan, store: Store) -> pd.DataFrame:
    """One frame of all rows there are so far, model by model as the suite lists them, each in the order of
    the plan, and then what is drawn from several of them, with 95 % bootstrap intervals over test examples
    (and seeds, if there are several):

    stage "mean"        a primary score, over seeds
    stage "gain"        minus that of the same model with none of the training data, on the same examples
    stage "difference"  minus that of the model that `label` names, on the same examples
    """
    rows = []
    found = store.find_all(job.request for job in plan.jobs)
    for job in plan.jobs:
        artifact = found.get(job.id)
        if artifact is None:
            continue
        labels = {name: job.labels.get(name) for name in LABELS}
        task = plan.suite.task(str(labels["task"])) if job.kind == "finetune" else None
        for row in read_rows(artifact):
            row = {"suite": plan.suite.name, **labels, **row, "name": full_name(row["metric"])}
            rows.append(row | _published(row, task))
    rows += [{"suite": plan.suite.name, **row} for row in _drawn(_scores(plan, found))]
    place = {name: number for number, name in enumerate(plan.suite.models)}
    return tidy(sorted(rows, key=lambda row: place[row["model"]]))


def _published(row: Mapping[str, Any], task: Task | None) -> dict[str, Any]:
    """What was published for the model and the recipe of a row, if it is of a fine-tuning."""
    if task is None:
        return {}
    score = published_score(row, task.published, task.published_recipes, task.recipe)
    return published_columns(score)


def without_places(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows for others to read: a model that is named by its folder has the end of its path as its name,
    as much of it as tells it from the other models."""
    names = {str(name) for name in pd.concat([rows["model"], rows["label"]]).dropna()}
    short = {name: _end(name, names) for name in names if name.startswith(("/", "~", "."))}
    return rows.assign(**{column: rows[column].replace(short) for column in ("model", "label")})


def _end(place: str, names: Set[str]) -> str:
    parts = Path(place).parts
    ends = ("/".join(parts[-count:]) for count in range(1, len(parts)))
    others = names - {place}
    return next((end for end in ends if not any(f"/{o}".endswith(f"/{end}") for o in others)), parts[-1])


def _scores(plan: Plan, artifacts: Mapping[str, Artifact]) -> Scores:
    """The primary scores of fine-tuning and probing, by test example."""
    found: Scores = {}
    for job in plan.jobs:
        artifact = artifacts.get(job.id) if job.kind in ("finetune", "probe") else None
        if artifact is None:
            continue
        of = str(job.labels["model"]), float(job.labels["fraction"])
        for key, terms in read_metric_terms(artifact).items():
            item = job.kind, str(job.labels["task"]), key
            found.setdefault(item, {}).setdefault(of, []).append(terms)
    return found


def _drawn(scores: Scores) -> Iterator[dict[str, Any]]:
    for item, by_run in scores.items():
        for (model, fraction), of_seeds in by_run.items():
            known = {**_named(item, of_seeds), "model": model, "fraction": fraction}
            if len(of_seeds) > 1:
                yield known | {"stage": "mean", **_bounds(interval(of_seeds))}
            before = by_run.get((model, 0.0))
            if fraction > 0 and before:
                yield known | {"stage": "gain", **_bounds(difference(of_seeds, before))}
        if item[0] != "finetune":
            continue
        for (one, of_one), (other, of_other) in combinations(by_run.items(), 2):
            if one[1] == other[1]:
                known = {**_named(item, of_one), "model": other[0], "fraction": one[1], "label": one[0]}
                yield known | {"stage": "difference", **_bounds(difference(of_other, of_one))}


def _named(item: Item, of_seeds: Sequence[MetricTerms]) -> dict[str, Any]:
    kind, task, key = item
    metric = of_seeds[0].metric
    named = {"kind": kind, "task": task, "split": "test", "metric": metric, "name": full_name(metric)}
    return named | {"probe": key.probe, "layer": key.layer}


def _bounds(found: Interval) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
