"""Probing: how well each layer's hidden states predict the labels, on a test set, by a small classifier.

Beside every score stand what it means: a control task of the same labels without their meaning (Hewitt &
Liang 2019), the description length of the labels (Voita & Titov 2020), and baselines without a model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from microtome.analysis.bootstrap import interval
from microtome.analysis.cache_checks import select_layers
from microtome.analysis.metrics.terms import MetricTerms, ScoreKey
from microtome.analysis.probing.baselines import bag_of_words, majority
from microtome.analysis.probing.best_layers import best_layer
from microtome.analysis.probing.duplicates import units_without_duplicates
from microtome.analysis.probing.mdl import (
    LogLikelihood,
    compression,
    label_frequencies,
    online_codelength,
    uniform_codelength,
)
from microtome.analysis.probing.model_selection import Choice, StrengthSelection
from microtome.analysis.probing.probes import PROBES, Probe, ProbeSettings
from microtome.analysis.probing.scalar_mix import scalar_mix
from microtome.analysis.probing.scoring import scoring
from microtome.analysis.probing.selectivity import Selectivity, control_task
from microtome.analysis.probing.settings import MIX, ProbeConfig
from microtome.analysis.units import Units, units
from microtome.store import ActivationCache
from microtome.store.errors import InputError
from microtome.store.results import WITHOUT_DUPLICATES

BAG = "bag-of-words"
LogProgress = Callable[[str], None]


@dataclass
class Probed:
    """Result rows, and the primary score of each layer and baseline by document."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    terms: dict[ScoreKey, MetricTerms] = field(default_factory=dict)


def probe(
    config: ProbeConfig,
    train: ActivationCache,
    test: ActivationCache,
    dev: ActivationCache | None = None,
    log_progress: LogProgress = lambda text: None,
) -> Probed:
    """Fit on `train`, choose the regularisation on `dev` or on a part of `train`, score on `test`.

    One row per layer and metric; rows of baselines have no layer. With a dev cache the primary score of each
    layer on it has a row too, of split "dev": a best layer is chosen there, and its score read on test. Of
    that layer there are rows by class, and of which class is taken for which (metrics/confusion.py). The
    caches must come from the same checkpoint. Words beyond max_length have no vector and are not scored; `n`
    says how many units are. Where some test examples, but not all, have the texts of a training example, the
    primary score without their units has rows of its own, of split "test without duplicates".
    """
    caches = [cache for cache in (train, test, dev) if cache is not None]
    for other in caches[1:]:
        _refuse_mismatch(train, other)
    train_units, test_units, *dev_units = (units(cache, config.pooling, config.pair) for cache in caches)
    run = _Probing(config, train, test, train_units, test_units)
    layers = select_layers(config.layers, train.layout.hidden_layers, train)
    held_out = None if dev is None else (dev, dev_units[0])
    selection = StrengthSelection(config.strengths, run.scoring, train_units, held_out, config.seed)
    if config.probe == MIX:
        run.mix(layers, selection, log_progress)
    else:
        run.task_probe, run.control_probe = (PROBES[config.probe](config.settings()) for _ in range(2))
        for layer in layers:
            run.layer(layer, selection, log_progress)
        run.classes_of_best_layer()
    if config.baselines:
        run.baselines(selection, log_progress)
    run.left_out(log_progress)
    return run.probed


class _Probing:
    """One probing job on its way: its settings, what it fits and tests on, and the rows so far."""

    task_probe: Probe
    control_probe: Probe

    def __init__(
        self,
        config: ProbeConfig,
        train: ActivationCache,
        test: ActivationCache,
        train_units: Units,
        test_units: Units,
    ) -> None:
        self.config, self.train, self.test = config, train, test
        self.train_units, self.test_units = train_units, test_units
        self.scoring = scoring(test, test_units.y, test_units.classes)
        self.split = test.description.split
        self.units_without_duplicates = units_without_duplicates(train, test, test_units)
        self.probed = Probed()
        self.selectivity = self._selectivity() if config.controls else None
        self.predictions: dict[int, np.ndarray] = {}  # by layer
        self.test_scores: dict[int, float] = {}
        self.dev_scores: dict[int, float] = {}

    def layer(self, layer: int, selection: StrengthSelection, log_progress: LogProgress) -> None:
        """Fit and score one layer, with its control and its description length."""
        x = self.train_units.features(self.train.hidden(layer))
        test_x = self.test_units.features(self.test.hidden(layer))
        choice = selection.of_layer(self.task_probe, x, layer)
        settings = self.task_probe.settings.model_copy(update={"strength": choice.strength})
        self.task_probe.settings = settings
        self.task_probe.fit(x, self.train_units.y, self.train_units.groups)
        predicted = self.task_probe.predict(test_x, self.test_units.groups)
        scores = self._add_scores(layer, predicted, self.config.probe)
        self.predictions[layer], self.test_scores[layer] = predicted, scores[self.scoring.primary]
        self._add_strength(layer, choice, self.config.probe, log_progress)
        dev_score = selection.dev_score(self.task_probe, layer)
        if dev_score is not None:
            self.dev_scores[layer] = dev_score
            dev_units = len(selection.dev[1].y) if selection.dev else 0
            self._add_row(layer, self.scoring.primary, dev_score, split="dev", n=dev_units)
        progress = [f"{name} {value:.3f}" for name, value in scores.items()]
        if self.selectivity is not None:
            self.control_probe.settings = settings
            progress.append(self._add_selectivity(self.selectivity, layer, x, test_x, predicted))
        if self.config.codelength and self.task_probe.probabilistic and self.train_units.y.dtype.kind != "f":
            progress.append(self._add_codelength(layer, x, settings))
        log_progress(f"layer {layer} " + ", ".join(progress))

    def classes_of_best_layer(self) -> None:
        """The rows by class, of the best layer alone: those of all layers would be most of the results."""
        layer = best_layer(self.test_scores, self.dev_scores)
        self._add_class_rows(layer, self.predictions[layer])

    def mix(self, layers: Sequence[int], selection: StrengthSelection, log_progress: LogProgress) -> None:
        """One probe of a learned mix of all layers."""
        y, classes = self.train_units.y, len(self.train_units.classes)
        if y.ndim != 1 or y.dtype.kind == "f":
            raise InputError("scalar-mix is for tasks with one class per unit; choose linear")
        layers = sorted(layers)  # sums are rounded in their order
        x = [self.train_units.features(self.train.hidden(layer)) for layer in layers]
        choice = selection.of_mix(x, layers)
        mix = scalar_mix(x, y, classes, strength=choice.strength)
        del x
        predicted = mix.predict([self.test_units.features(self.test.hidden(layer)) for layer in layers])
        self._add_scores(None, predicted, MIX)
        self._add_class_rows(None, predicted)
        for layer, weight in zip(layers, mix.weights, strict=True):
            self._add_row(layer, "mix_weight", float(weight))
        self._add_strength(None, choice, MIX, log_progress)
        self._add_row(None, "centre_of_gravity", float(np.asarray(layers) @ mix.weights))

    def baselines(self, selection: StrengthSelection, log_progress: LogProgress) -> None:
        """The scores of what needs no model."""
        y, size = self.train_units.y, max(selection.vocabulary, self.test_units.vocabulary)
        x, test_x = self.train_units.bag(size), self.test_units.bag(size)
        choice = selection.of_bag(self.config.bag_strengths, x, size)
        self._add_strength(None, choice, BAG, log_progress)
        self._add_scores(None, majority(y, len(self.test_units.y)), "majority")
        self._add_scores(None, bag_of_words(x, y, test_x, strength=choice.strength), BAG)
        if self.selectivity is not None:
            name, value = self.selectivity.accuracy_name, self.selectivity.majority_accuracy()
            self._add_row(None, name, value, probe="majority")

    def left_out(self, log_progress: LogProgress) -> None:
        """How many examples of the test split are no units; said of the training split too."""
        if self.train_units.left_out or self.test_units.left_out:
            self._add_row(None, "mentions_cut", self.test_units.left_out)
            log_progress(
                f"left out, as max_length cut off a mention: {self.train_units.left_out} training and "
                f"{self.test_units.left_out} test examples"
            )

    def _add_strength(self, layer: int | None, choice: Choice, probe: str, log_progress: LogProgress) -> None:
        self._add_row(layer, "strength", choice.strength, probe=probe)
        if choice.at_the_end:
            self._add_row(layer, "strength_at_end", 1, probe=probe)
            where = probe if layer is None else f"layer {layer}"
            knob = "bag_strengths" if probe == BAG else "strengths"
            log_progress(
                f"{where}: the strength {choice.strength:g}, one step beyond its grid, is the best on dev: "
                f"{knob} should be wider"
            )

    def _add_selectivity(
        self, selectivity: Selectivity, layer: int, x: np.ndarray, test_x: np.ndarray, predicted: np.ndarray
    ) -> str:
        self.control_probe.fit(x, selectivity.control.train_y, self.train_units.groups)
        control_predicted = self.control_probe.predict(test_x, self.test_units.groups)
        value = 0.0
        for row in selectivity.rows(predicted, control_predicted):
            self._add_row(layer, **row)
            value = row["value"] if row["metric"] == "selectivity_over_majority" else value
        return f"selectivity over the majority {value:.3f}"

    def _add_codelength(self, layer: int, x: np.ndarray, settings: ProbeSettings) -> str:
        """The codelength of the labels, that of the control task, and each over its prior code."""
        y, classes = self.train_units.y, len(self.train_units.classes)
        bits, prior_bits = self._codelengths(x, y, settings)
        ratio = compression(bits, prior_bits)
        n = len(y)
        if math.isfinite(bits):  # it is not if a label was held impossible; the compression is 0 then
            self._add_row(layer, "codelength", bits, n=n)
        self._add_row(layer, "prior_codelength", prior_bits, n=n)
        self._add_row(layer, "compression", ratio, n=n)
        uniform_bits = uniform_codelength(y.size, 2 if y.ndim == 2 else classes)
        self._add_row(layer, "uniform_compression", compression(bits, uniform_bits), n=n)
        if self.selectivity is not None:
            control_y = self.selectivity.control.train_y
            control_bits, control_prior_bits = self._codelengths(x, control_y, settings)
            if math.isfinite(control_bits):
                self._add_row(layer, "control_codelength", control_bits, n=n)
            self._add_row(layer, "control_compression", compression(control_bits, control_prior_bits), n=n)
        return f"compression {ratio:.2f}"

    def _codelengths(self, x: np.ndarray, y: np.ndarray, settings: ProbeSettings) -> tuple[float, float]:
        """Bits of the labels `y` of the training units: by the probe, and by their frequencies alone."""
        groups, classes = self.train_units.groups, len(self.train_units.classes)
        probe = PROBES[self.config.probe](settings)

        def fit(rows: np.ndarray, labels: np.ndarray) -> LogLikelihood:
            probe.fit(x[rows], labels, groups[rows])
            return lambda next_rows, gold: probe.log_likelihood(
                x[next_rows], gold, groups[next_rows], classes
            )

        by_probe, by_frequency = (
            online_codelength(
                np.arange(len(y)),
                y,
                classes=classes,
                fit=model,
                groups=groups,
                rng=np.random.default_rng([self.config.seed, 3]),
            )
            for model in (fit, label_frequencies(classes))
        )
        return by_probe, by_frequency

    def _selectivity(self) -> Selectivity | None:
        config, train, test = self.config, self.train_units, self.test_units
        control = control_task(train, test, np.random.default_rng([config.seed, 1]))
        if control is None:
            return None
        return Selectivity(control, self.scoring, train.y, test, config.resamples, config.seed)

    def _add_scores(self, layer: int | None, predicted: np.ndarray, probe: str) -> dict[str, float]:
        """Rows of all scores, and of the primary one its interval."""
        scores = self.scoring.scores(self.test_units.y, predicted, self.test_units.groups)
        terms = self.scoring.terms(self.test_units.y, predicted, self.test_units.documents)
        self.probed.terms[ScoreKey(probe, layer)] = terms
        for metric, value in scores.items():
            bounds = self._bounds(terms) if metric == self.scoring.primary else {}
            self._add_row(layer, metric, value, probe=probe, **bounds)
        self._add_score_without_duplicates(layer, predicted, probe)
        return scores

    def _add_score_without_duplicates(self, layer: int | None, predicted: np.ndarray, probe: str) -> None:
        units = self.units_without_duplicates
        if units is None:
            return
        test = self.test_units
        terms = self.scoring.terms(test.y[units], predicted[units], test.documents[units])
        where = {"split": WITHOUT_DUPLICATES, "n": len(units), "probe": probe}
        self._add_row(layer, self.scoring.primary, terms.value(), **where, **self._bounds(terms))

    def _bounds(self, terms: MetricTerms) -> dict[str, float]:
        if not self.config.resamples:
            return {}
        spread = interval([terms], resamples=self.config.resamples, seed=self.config.seed)
        return {"low": spread.low, "high": spread.high}

    def _add_class_rows(self, layer: int | None, predicted: np.ndarray) -> None:
        test = self.test_units
        for row in self.scoring.class_rows(test.y, predicted, test.groups):
            self._add_row(layer, **row)

    def _add_row(self, layer: int | None, metric: str, value: float, **more: Any) -> None:
        row = {"split": self.split, "layer": layer, "probe": self.config.probe, "metric": metric}
        self.probed.rows.append(row | {"value": value, "n": len(self.test_units.y)} | more)


def _refuse_mismatch(train: ActivationCache, test: ActivationCache) -> None:
    if train.checkpoint != test.checkpoint:
        raise InputError(f"{train.path.name} and {test.path.name} are of different checkpoints")
    for name in ("unit", "classes", "segments"):
        if getattr(train.description, name) != getattr(test.description, name):
            raise InputError(f"{train.path.name} and {test.path.name} differ in {name}")
    if not train.layout.hidden_layers or not test.layout.hidden_layers:
        raise InputError(f"{train.path.name} or {test.path.name} keeps no hidden states")
