"""Probing: how well each layer's hidden states predict the labels, on a test set, by a small classifier.

Beside every score stand what it means: a control task of the same labels without their meaning (Hewitt &
Liang 2019), the description length of the labels (Voita & Titov 2020), and baselines without a model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from microtome.analysis.bootstrap import difference, interval
from microtome.analysis.cache_checks import chosen_layers
from microtome.analysis.metrics.selection import accuracy, scoring
from microtome.analysis.metrics.terms import Summed
from microtome.analysis.probing.baselines import bag_of_words, majority
from microtome.analysis.probing.control import control_labels, random_labels
from microtome.analysis.probing.mdl import compression, online_codelength
from microtome.analysis.probing.model_selection import Chooser
from microtome.analysis.probing.probes import PROBES, Probe, ProbeSettings
from microtome.analysis.probing.scalar_mix import scalar_mix
from microtome.analysis.probing.settings import MIX, ProbeConfig
from microtome.analysis.units import Units, units
from microtome.store import ActivationCache
from microtome.store.errors import InputError

BAG = "bag-of-words"
Report = Callable[[str], None]


@dataclass
class Probed:
    """Result rows, and the primary score of each layer as sums over examples, by `<probe>/<layer>`."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    summed: dict[str, Summed] = field(default_factory=dict)


def probe(
    config: ProbeConfig,
    train: ActivationCache,
    test: ActivationCache,
    dev: ActivationCache | None = None,
    report: Report = lambda text: None,
) -> Probed:
    """Fit on `train`, choose the regularisation on `dev` or on a part of `train`, score on `test`.

    One row per layer and metric; rows of baselines have no layer. The caches must come from the same
    checkpoint. Words beyond max_length have no vector and are not scored; `n` says how many units are.
    """
    caches = [cache for cache in (train, test, dev) if cache is not None]
    for other in caches[1:]:
        _refuse_mismatch(train, other)
    made = [units(cache, config.pooling, config.pair) for cache in caches]
    found = _Probing(config, train, test, made[0], made[1])
    layers = chosen_layers(config.layers, train.layout.hidden_layers, train)
    held_out = None if dev is None else (dev, made[2])
    chooser = Chooser(config.strengths, found.scoring, made[0], held_out, config.seed)
    if config.probe == MIX:
        found.mix(layers, chooser)
    else:
        found.fitted, found.control = (PROBES[config.probe](config.settings()) for _ in range(2))
        for layer in layers:
            found.layer(layer, chooser, report)
    if config.baselines:
        found.baselines(chooser)
    return found.probed


class _Probing:
    """One probing job on its way: what is asked, and the rows so far."""

    fitted: Probe
    control: Probe

    def __init__(
        self, config: ProbeConfig, train: ActivationCache, test: ActivationCache, known: Units, asked: Units
    ) -> None:
        self.config, self.train, self.test, self.known, self.asked = config, train, test, known, asked
        self.scoring = scoring(test, asked.y, asked.classes)
        self.split = test.manifest["outputs"]["cache"]["split"]
        self.probed = Probed()
        self.labels = self._control_labels() if config.controls else None

    def layer(self, layer: int, chooser: Chooser, report: Report) -> None:
        """Fit and score one layer, with its control and its description length."""
        x = self.known.features(self.train.hidden(layer))
        tested = self.asked.features(self.test.hidden(layer))
        settings = replace(self.fitted.settings, strength=chooser.of_layer(self.fitted, x, layer))
        self.fitted.settings = settings
        self.fitted.fit(x, self.known.y, self.known.groups)
        predicted = self.fitted.predict(tested, self.asked.groups)
        scores = self.scoring.scores(self.asked.y, predicted)
        self._scored(layer, scores, predicted, self.config.probe)
        self._row(layer, "strength", settings.strength)
        said = [f"{name} {value:.3f}" for name, value in scores.items()]
        if self.labels is not None:
            self.control.settings = settings
            said.append(self._selectivity(layer, x, tested, predicted))
        if self.config.codelength and self.fitted.probabilistic and self.known.y.dtype.kind != "f":
            said.append(self._codelength(layer, x, settings))
        report(f"layer {layer} " + ", ".join(said))

    def mix(self, layers: Sequence[int], chooser: Chooser) -> None:
        """One probe of a learned mix of all layers."""
        if self.known.y.ndim != 1 or self.known.y.dtype.kind == "f":
            raise InputError("scalar-mix is for tasks with one class per unit; choose linear")
        layers = sorted(layers)  # sums are rounded in their order
        x = [self.known.features(self.train.hidden(layer)) for layer in layers]
        strength = chooser.of_mix(x, layers)
        fitted = scalar_mix(x, self.known.y, len(self.known.classes), strength=strength)
        del x
        predicted = fitted.predict([self.asked.features(self.test.hidden(layer)) for layer in layers])
        self._scored(None, self.scoring.scores(self.asked.y, predicted), predicted, MIX)
        for layer, weight in zip(layers, fitted.weights, strict=True):
            self._row(layer, "mix_weight", float(weight))
        self._row(None, "strength", strength)
        self._row(None, "centre_of_gravity", float(np.asarray(layers) @ fitted.weights))

    def baselines(self, chooser: Chooser) -> None:
        """The scores of what needs no model."""
        y, size = self.known.y, max(chooser.vocabulary, self.asked.vocabulary)
        x, tested = self.known.bag(size), self.asked.bag(size)
        strength = chooser.of_bag(x, size)
        self._row(None, "strength", strength, probe=BAG)
        for name, predicted in (
            ("majority", majority(y, len(self.asked.y))),
            (BAG, bag_of_words(x, y, tested, strength=strength)),
        ):
            self._scored(None, self.scoring.scores(self.asked.y, predicted), predicted, name)

    def _selectivity(self, layer: int, x: np.ndarray, tested: np.ndarray, predicted: np.ndarray) -> str:
        assert self.labels is not None
        known, asked = self.labels
        self.control.fit(x, known, self.known.groups)
        found = self.control.predict(tested, self.asked.groups)
        task = accuracy(self.asked.y, predicted, self.asked.groups)
        control = accuracy(asked, found, self.asked.groups)
        name = "control" if self.known.types is not None else "random_label"
        self._row(layer, f"{name}_accuracy", control.value())
        metric = "selectivity" if name == "control" else "random_label_selectivity"
        value = task.value() - control.value()
        bounds = {}
        if self.config.resamples:
            spread = difference([task], [control], resamples=self.config.resamples, seed=self.config.seed)
            bounds = {"low": spread.low, "high": spread.high}
        self._row(layer, metric, value, **bounds)
        return f"{metric.replace('_', ' ')} {value:.3f}"

    def _codelength(self, layer: int, x: np.ndarray, settings: ProbeSettings) -> str:
        y, groups, classes = self.known.y, self.known.groups, len(self.known.classes)
        probe = PROBES[self.config.probe](settings)

        def fit(rows: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
            probe.fit(x[rows], labels, groups[rows])
            return lambda asked, gold: probe.log_likelihood(x[asked], gold, groups[asked], classes)

        rng = np.random.default_rng([self.config.seed, 3])
        bits = online_codelength(np.arange(len(y)), y, classes=classes, fit=fit, groups=groups, rng=rng)
        ratio = compression(bits, y.size, 2 if y.ndim == 2 else classes)
        if math.isfinite(bits):  # it is not if a label was held impossible; the compression is 0 then
            self._row(layer, "codelength", bits, n=len(y))
        self._row(layer, "compression", ratio, n=len(y))
        return f"compression {ratio:.2f}"

    def _control_labels(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Labels of training and test units that keep nothing of the task but their distribution."""
        known, asked = self.known, self.asked
        if known.y.dtype.kind == "f":
            return None
        rng = np.random.default_rng([self.config.seed, 1])
        if known.types is None or asked.types is None:
            return random_labels(known.y, rng), random_labels(known.y, rng, size=len(asked.y))
        types = np.concatenate([known.types, asked.types])
        drawn = control_labels(types, np.concatenate([known.y, asked.y]), rng)
        return drawn[: len(known.y)], drawn[len(known.y) :]

    def _scored(self, layer: int | None, scores: dict[str, float], predicted: np.ndarray, probe: str) -> None:
        """Rows of all scores, and of the primary one its interval."""
        sums = self.scoring.summed(self.asked.y, predicted, self.asked.groups)
        self.probed.summed[f"{probe}/{'' if layer is None else layer}"] = sums
        for metric, value in scores.items():
            bounds = {}
            if metric == self.scoring.primary and self.config.resamples:
                spread = interval([sums], resamples=self.config.resamples, seed=self.config.seed)
                bounds = {"low": spread.low, "high": spread.high}
            self._row(layer, metric, value, probe=probe, **bounds)

    def _row(self, layer: int | None, metric: str, value: float, **more: Any) -> None:
        known = {"split": self.split, "layer": layer, "probe": self.config.probe, "metric": metric}
        self.probed.rows.append(known | {"value": value, "n": len(self.asked.y)} | more)


def _refuse_mismatch(train: ActivationCache, test: ActivationCache) -> None:
    if train.manifest["inputs"]["checkpoint"] != test.manifest["inputs"]["checkpoint"]:
        raise InputError(f"{train.path.name} and {test.path.name} are of different checkpoints")
    one, other = (cache.manifest["outputs"]["cache"] for cache in (train, test))
    for key in ("unit", "classes", "segments"):
        if one[key] != other[key]:
            raise InputError(f"{train.path.name} and {test.path.name} differ in {key}")
    if not train.layout.hidden_layers or not test.layout.hidden_layers:
        raise InputError(f"{train.path.name} or {test.path.name} keeps no hidden states")
