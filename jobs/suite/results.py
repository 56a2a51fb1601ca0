"""The results of a suite, as it names things: what its jobs measured, and what is derived from that."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from microtome.analysis.bootstrap import Difference, Interval, difference, interval
from microtome.analysis.metrics import full_name
from microtome.analysis.metrics.terms import MetricTerms, ScoreKey, read_metric_terms
from microtome.analysis.multiple_tests import holm
from microtome.jobs.kinds.records import FinetuneRecord
from microtome.jobs.suite.layer_comparisons import LayerScores, layer_differences
from microtome.jobs.suite.plan import Plan
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.published import published_columns, published_score
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.frames import tidy
from microtome.store.results import DERIVED_COLUMNS, LABELS, read_rows

Item = tuple[str, str, ScoreKey]  # kind, task, and what was scored
Scores = dict[Item, dict[tuple[str, float], list[MetricTerms]]]  # model, fraction -> one score per seed
# By task and probe, run, and layer.
DevScores = dict[tuple[str, str], dict[tuple[str, float], dict[int, list[float]]]]
MODEL_COLUMNS = ("model", "reference_model")


def measured_rows(plan: Plan, store: Store) -> pd.DataFrame:
    """What the jobs that are done measured, each row beside a published score where there is one; model by
    model as the suite lists them, each in the order of the plan. Columns: `store.results.COLUMNS`."""
    artifacts = store.find_all(job.request for job in plan.jobs)
    rows = []
    for job in plan.jobs:
        artifact = artifacts.get(job.id)
        if artifact is None:
            continue
        labels = {name: job.labels.get(name) for name in (*LABELS, "stage")}
        task = plan.suite.task(str(labels["task"])) if job.kind == "finetune" else None
        held_out = FinetuneRecord.of(artifact).held_out if task is not None else ()
        for row in read_rows(artifact):
            row = {"suite": plan.suite.name, **labels, **row, "name": full_name(row["metric"])}
            rows.append(row | _published(row, task, held_out))
    return tidy(_by_model(rows, plan))


def _published(row: Mapping[str, Any], task: Task | None, held_out: Collection[str]) -> dict[str, Any]:
    """What was published for the model, the recipe and the split of a row, if it is of a fine-tuning."""
    if task is None:
        return {}
    score = published_score(row, task.published, task.published_recipes, task.recipe, held_out)
    return published_columns(score)


def derived_rows(plan: Plan, store: Store) -> pd.DataFrame:
    """What is derived from the primary scores of fine-tuning and probing on the test split, with 95 %
    bootstrap intervals over test documents, and seeds if there are several. Columns:
    `store.results.DERIVED_COLUMNS`.

    quantity "mean"        over seeds, where there are several
    quantity "gain"        the score minus that of the same model with none of the training data
    quantity "difference"  the score minus that of another model with as much of it
    quantity "from_best_layer"  of a probe: the score minus that of the best layer of the same model, as
                                chosen on dev
    quantity "best_layer_gain"  of a probe: the score of the best layer minus that of the best layer before
                                fine-tuning

    What is subtracted was scored on the same examples, and is named by reference_model, reference_fraction
    and, where it is another layer, reference_layer. `seeds` training runs are behind each value; `p` is after
    Holm's correction over all rows of a quantity, a task and a kind of job: pairs of models, fractions and
    layers.
    """
    artifacts = store.find_all(job.request for job in plan.jobs if job.kind in ("finetune", "probe"))
    scores = _scores(plan, artifacts)
    derived = [*_derived(scores), *_between_layers(scores, _dev_scores(plan, artifacts))]
    rows = [{"suite": plan.suite.name, **row} for row in _corrected(derived)]
    return tidy(_by_model(rows, plan), DERIVED_COLUMNS)


def without_places(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables for others to read: a model that is named by its folder has the end of its path as its name,
    as much of it as tells it from the other models of all tables."""
    columns = [[column for column in MODEL_COLUMNS if column in table] for table in tables]
    named = [table[column] for table, present in zip(tables, columns, strict=True) for column in present]
    names = {str(name) for name in pd.concat(named).dropna()}
    short = {name: _end(name, names) for name in names if name.startswith(("/", "~", "."))}
    return [
        table.assign(**{column: table[column].replace(short) for column in present})
        for table, present in zip(tables, columns, strict=True)
    ]


def _end(place: str, names: Set[str]) -> str:
    parts = Path(place).parts
    ends = ("/".join(parts[-count:]) for count in range(1, len(parts)))
    others = names - {place}
    return next((end for end in ends if not any(f"/{o}".endswith(f"/{end}") for o in others)), parts[-1])


def _by_model(rows: Iterable[dict[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    """In the order in which the suite lists its models."""
    place = {name: number for number, name in enumerate(plan.suite.models)}
    return sorted(rows, key=lambda row: place[row["model"]])


def _scores(plan: Plan, artifacts: Mapping[str, Artifact]) -> Scores:
    """The primary scores of fine-tuning and probing, by test example."""
    scores: Scores = {}
    for job in plan.jobs:
        artifact = artifacts.get(job.id)
        if artifact is None:
            continue
        run = str(job.labels["model"]), float(job.labels["fraction"])
        for key, terms in read_metric_terms(artifact).items():
            item = job.kind, str(job.labels["task"]), key
            scores.setdefault(item, {}).setdefault(run, []).append(terms)
    return scores


def _dev_scores(plan: Plan, artifacts: Mapping[str, Artifact]) -> DevScores:
    """What probes of single layers have on dev, where they were scored there."""
    scores: DevScores = {}
    for job in plan.jobs:
        artifact = artifacts.get(job.id)
        if artifact is None or job.kind != "probe":
            continue
        run = str(job.labels["model"]), float(job.labels["fraction"])
        for row in read_rows(artifact):
            if row.get("split") == "dev":
                item = str(job.labels["task"]), str(row["probe"])
                layers = scores.setdefault(item, {}).setdefault(run, {})
                layers.setdefault(int(row["layer"]), []).append(float(row["value"]))
    return scores


def _between_layers(scores: Scores, on_dev: DevScores) -> Iterator[dict[str, Any]]:
    probes: dict[tuple[str, str], LayerScores] = {}
    for (kind, task, key), runs in scores.items():
        if kind != "probe" or key.layer is None:
            continue
        item = task, str(key.probe)
        probe = probes.setdefault(item, LayerScores(dev=on_dev.get(item, {})))
        for run, of_seeds in runs.items():
            probe.test.setdefault(run, {})[key.layer] = of_seeds
    for (task, name), probe in probes.items():
        for compared in layer_differences(probe):
            key = ScoreKey(name, compared.layer)
            row = _named(("probe", task, key), probe.test[compared.run][compared.layer])
            model, fraction = compared.run
            row |= {"model": model, "fraction": fraction, "reference_layer": compared.reference_layer}
            row |= _against(compared.quantity, compared.reference) | _bounds(compared.difference)
            # The states of the pretrained model are of no training run: nothing of them is luck.
            yield row | {"seeds": len(probe.test[compared.run][compared.layer])}


def _derived(scores: Scores) -> Iterator[dict[str, Any]]:
    for item, runs in scores.items():
        for (model, fraction), of_seeds in runs.items():
            row = {**_named(item, of_seeds), "model": model, "fraction": fraction}
            if len(of_seeds) > 1:
                yield row | {"quantity": "mean", **_bounds(interval(of_seeds))}
            before = runs.get((model, 0.0))
            if fraction > 0 and before:
                gain = row | _against("gain", (model, 0.0)) | _bounds(difference(of_seeds, before))
                # The states of the pretrained model are of no training run: nothing of them is luck.
                yield gain | ({"seeds": len(of_seeds)} if item[0] == "probe" else {})
        if item[0] != "finetune":
            continue
        for (one, of_one), (other, of_other) in combinations(runs.items(), 2):
            if one[1] == other[1]:
                row = {**_named(item, of_one), "model": other[0], "fraction": other[1]}
                yield row | _against("difference", one) | _bounds(difference(of_other, of_one))


def _named(item: Item, of_seeds: Sequence[MetricTerms]) -> dict[str, Any]:
    kind, task, key = item
    metric = of_seeds[0].metric
    named = {"kind": kind, "task": task, "split": "test", "metric": metric, "name": full_name(metric)}
    return named | {"probe": key.probe, "layer": key.layer}


def _against(quantity: str, reference: tuple[str, float]) -> dict[str, Any]:
    model, fraction = reference
    return {"quantity": quantity, "reference_model": model, "reference_fraction": fraction}


def _corrected(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with p values that hold for all comparisons of a task and kind together."""
    rows = list(rows)
    tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if "p" in row:
            tables.setdefault((row["kind"], row["task"], row["quantity"]), []).append(row)
    for table in tables.values():
        for row, p in zip(table, holm(np.array([row["p"] for row in table])), strict=True):
            row["p"] = float(p)
    return rows


def _bounds(bounds: Interval) -> dict[str, Any]:
    """The value with its interval, over how many examples and seeds."""
    row: dict[str, Any] = {
        "value": bounds.value,
        "low": bounds.low,
        "high": bounds.high,
        "interval": bounds.method,
        "n": bounds.n,
        "seeds": bounds.seeds,
    }
    if isinstance(bounds, Difference):
        row["p"] = bounds.p
        row["effect"] = bounds.effect if np.isfinite(bounds.effect) else None
    return row
