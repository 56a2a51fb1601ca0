"""Probing: how well each layer's hidden states predict the labels, on a test set, by a small classifier."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field

from analysis.features import units
from analysis.metrics import (
    class_scores,
    multi_label_scores,
    regression_scores,
    relation_scores,
    token_scores,
)
from analysis.probes import PROBES
from store import ActivationCache
from store.config import Config
from store.errors import InputError


class ProbeConfig(Config):
    """How the layers are probed."""

    probe: Literal["linear"] = Field(
        "linear", description="classifier: linear is multinomial logistic regression"
    )
    layers: tuple[int, ...] | None = Field(
        None, description="hidden layers to probe, 0 the embeddings; all if unset"
    )
    pooling: Literal["mean", "first", "last"] = Field(
        "mean", description="which subwords of a word, or tokens of a segment, make its vector"
    )
    strength: float = Field(1.0, gt=0, description="inverse of the L2 regularisation")
    seed: int = Field(0, ge=0, description="of probes that draw random numbers")


def probe(
    config: ProbeConfig,
    train: ActivationCache,
    test: ActivationCache,
    report: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Fit on `train`, score on `test`, layer by layer; one row per layer and metric.

    Both caches must come from the same checkpoint. Words beyond max_length have no vector and are not
    scored; `n` says how many units are.
    """
    _refuse_mismatch(train, test)
    known, asked = units(train, config.pooling), units(test, config.pooling)
    rows = []
    classifier = PROBES[config.probe](strength=config.strength, seed=config.seed)
    for layer in config.layers if config.layers is not None else train.layout.hidden_layers:
        classifier.fit(known.features(train.hidden(layer)), known.y)
        predicted = classifier.predict(asked.features(test.hidden(layer)))
        scores = _score(test, asked.y, predicted, asked.classes)
        report(f"layer {layer} " + " ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        for metric, value in scores.items():
            rows.append(
                {
                    "split": test.manifest["outputs"]["cache"]["split"],
                    "layer": layer,
                    "probe": config.probe,
                    "metric": metric,
                    "value": value,
                    "n": len(asked.y),
                }
            )
    return rows


def _score(
    cache: ActivationCache, gold: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]
) -> dict[str, float]:
    """What suits the unit: tokens, positive classes of a relation, sets of classes, numbers, classes."""
    unit = cache.manifest["outputs"]["cache"]["unit"]
    if gold.dtype.kind == "f":
        return regression_scores(gold.tolist(), predicted.tolist())
    if gold.ndim == 2:
        names = [[n for n, on in zip(classes, row, strict=True) if on] for row in (*gold, *predicted)]
        return multi_label_scores(names[: len(gold)], names[len(gold) :], classes)
    if unit == "word":
        return token_scores(gold.tolist(), predicted.tolist(), range(len(classes)))
    if unit == "entity_pair":
        true, found = ([classes[number] for number in side] for side in (gold, predicted))
        return relation_scores(true, found, classes[1:])
    return class_scores(gold.tolist(), predicted.tolist())


def _refuse_mismatch(train: ActivationCache, test: ActivationCache) -> None:
    if train.manifest["inputs"]["checkpoint"] != test.manifest["inputs"]["checkpoint"]:
        raise InputError(f"{train.path.name} and {test.path.name} are of different checkpoints")
    one, other = (cache.manifest["outputs"]["cache"] for cache in (train, test))
    for key in ("unit", "classes", "segments"):
        if one[key] != other[key]:
            raise InputError(f"{train.path.name} and {test.path.name} differ in {key}")
    if not train.layout.hidden_layers or not test.layout.hidden_layers:
        raise InputError(f"{train.path.name} or {test.path.name} keeps no hidden states")
