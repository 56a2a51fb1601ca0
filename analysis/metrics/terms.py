"""Scores by example: what each example adds to the sums that a metric is a formula of, in memory and on disk.

analysis/bootstrap.py resamples these. The scores of all resamples are then one matrix product: how often each
resample holds each example, [resamples, examples], times what each example adds, [examples, k].
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtome.analysis.metrics.labels import Labels
from microtome.analysis.metrics.metric import Sums
from microtome.analysis.metrics.scoring import refuse_other_labels, score_entry
from microtome.store.artifacts.store import Artifact
from microtome.store.errors import InputError
from microtome.store.identity import digest

METRIC_TERMS = "metric_terms.npz"  # in an artifact, beside its rows
NO_LAYER = -1


@dataclass(frozen=True)
class ScoreKey:
    """What was scored in an artifact: a layer by a probe, a baseline (a probe without a layer), or the
    fine-tuned model itself (neither)."""

    probe: str | None = None
    layer: int | None = None


@dataclass(frozen=True, eq=False)
class MetricTerms:
    """A score by example.

    metric    its name in METRICS, whose definition says what the terms are
    terms     float64 [examples, k], what each example adds to the sums
    examples  digest of the examples' names in their order; empty if they have none
    """

    metric: str
    terms: np.ndarray
    examples: str = ""

    def value(self) -> float:
        """The score over all examples."""
        return float(self.values(np.ones((1, len(self.terms))))[0])

    def values(self, counts: np.ndarray) -> np.ndarray:
        """The score of every resample: how often it has each example, float64 [resamples, examples]."""
        return _sums(self.metric).formula(counts @ self.terms)


def metric_terms(metric: str, labels: Labels) -> MetricTerms:
    """A metric by example, the examples in ascending order of their names if they have any. InputError for a
    metric that is no formula of sums over examples."""
    refuse_other_labels(metric, labels)
    names = labels.grouping.names
    return MetricTerms(metric, _sums(metric).of_examples(labels), digest(list(names)) if names else "")


def write_metric_terms(path: Path, scores: Mapping[ScoreKey, MetricTerms]) -> None:
    """Write scores to one .npz file (numpy), arrays of one entry per score, in order:

    probe     text, "" for none
    layer     int64, -1 for none
    metric    text, its name in METRICS
    examples  text, digest of the names of the examples
    terms_0, terms_1, ...  float64 [examples, k], of each score
    """
    texts = {
        "probe": [key.probe or "" for key in scores],
        "metric": [score.metric for score in scores.values()],
        "examples": [score.examples for score in scores.values()],
    }
    arrays: dict[str, Any] = {name: np.array(column, np.str_) for name, column in texts.items()}
    layers = [NO_LAYER if key.layer is None else key.layer for key in scores]
    arrays["layer"] = np.array(layers, np.int64)
    arrays |= {f"terms_{number}": score.terms for number, score in enumerate(scores.values())}
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_metric_terms(artifact: Artifact) -> dict[ScoreKey, MetricTerms]:
    """The scores of an artifact; none if it keeps none. StoreError if they are not as they were written."""
    if not artifact.contents.has(METRIC_TERMS):
        return {}
    scores = {}
    with np.load(io.BytesIO(artifact.contents.read(METRIC_TERMS)), allow_pickle=False) as arrays:
        columns = [arrays[name].tolist() for name in ("probe", "layer", "metric", "examples")]
        for number, (probe, layer, metric, examples) in enumerate(zip(*columns, strict=True)):
            key = ScoreKey(probe or None, None if layer == NO_LAYER else layer)
            scores[key] = MetricTerms(metric, arrays[f"terms_{number}"], examples)
    return scores


def _sums(metric: str) -> Sums:
    definition = score_entry(metric).definition
    if not isinstance(definition, Sums):
        raise InputError(f"{metric} is no formula of sums over examples, so it has no interval")
    return definition
