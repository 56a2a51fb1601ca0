"""The regularisation of a probe, chosen on units that the fit has not seen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from microtome.analysis.probing.baselines import bag_of_words
from microtome.analysis.probing.probes import Probe
from microtome.analysis.probing.scalar_mix import scalar_mix
from microtome.analysis.probing.scoring import Scoring
from microtome.analysis.units import Units
from microtome.store import ActivationCache

DEV_SHARE = 0.2  # of the training documents, where there is no dev cache
Side = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, groups


@dataclass(frozen=True)
class Choice:
    """A strength, and whether it is still the end of its grid after one more step: a wider grid might do
    better."""

    strength: float
    at_the_end: bool = False


def best_strength(strengths: Sequence[float], quality: Callable[[float], float]) -> Choice:
    """The strength of the highest quality, the smallest of equally good ones. Where an end of the grid is
    among them, one more step is tried beyond it, as large as the last one, and taken if it is better."""
    grid = sorted(strengths)
    qualities = [quality(strength) for strength in grid]
    best = int(np.argmax(qualities))
    at_top = qualities[-1] == qualities[best]
    if len(grid) == 1 or (best > 0 and not at_top):
        return Choice(grid[best])
    beyond = grid[-1] * (grid[-1] / grid[-2]) if at_top else grid[0] * (grid[0] / grid[1])
    beyond = float(f"{beyond:.6g}")  # 0.1 * (0.1 / 0.01) is 1.0000000000000002
    better = 0 < beyond < math.inf and quality(beyond) > qualities[best]
    return Choice(beyond, at_the_end=True) if better else Choice(grid[best])


class StrengthSelection:
    """Selects by the likelihood of the labels, which is less noisy than a score, or by the primary score
    where there are no probabilities.

    It compares strengths on `dev`, or on a fifth of the training documents, which `seed` picks.
    """

    def __init__(
        self,
        strengths: Sequence[float],
        scoring: Scoring,
        train_units: Units,
        dev: tuple[ActivationCache, Units] | None,
        seed: int,
    ) -> None:
        self.strengths = sorted(strengths)
        self.scoring, self.train_units, self.dev = scoring, train_units, dev
        documents = train_units.documents
        if len(np.unique(documents)) == 1:
            documents = train_units.groups  # one document: its sentences are what there is to part
        names = np.unique(documents)
        self._several = len(names) > 1
        size = max(1, round(DEV_SHARE * len(names)))
        held_out = np.random.default_rng([seed, 2]).choice(names, size, replace=False)
        self._held_out = np.isin(documents, held_out)

    @property
    def vocabulary(self) -> int:
        """One more than the largest token id of the training and dev units."""
        return max(self.train_units.vocabulary, self.dev[1].vocabulary if self.dev else 0)

    def of_layer(self, probe: Probe, x: np.ndarray, layer: int) -> Choice:
        """For a probe of one layer; `x` are the features of the training units."""
        if not self._has_choice(self.strengths) or not probe.regularised:
            return Choice(self.strengths[-1])
        fit, (dev_x, gold, groups) = self._sides(x, layer)
        by_likelihood = probe.probabilistic and gold.dtype.kind != "f"

        def quality(strength: float) -> float:
            probe.settings = probe.settings.model_copy(update={"strength": strength})
            probe.fit(*fit)
            if by_likelihood:
                return float(probe.log_likelihood(dev_x, gold, groups, len(self.train_units.classes)).sum())
            return self._score(gold, probe.predict(dev_x, groups))

        return best_strength(self.strengths, quality)

    def dev_score(self, probe: Probe, layer: int) -> float | None:
        """The primary score on dev of a probe that was fitted on all training units: what a layer may be
        chosen by. None without a dev cache."""
        if self.dev is None:
            return None
        cache, dev_units = self.dev
        dev_x = dev_units.features(cache.hidden(layer))
        return self._score(dev_units.y, probe.predict(dev_x, dev_units.groups))

    def of_mix(self, x: Sequence[np.ndarray], layers: Sequence[int]) -> Choice:
        """For one probe of a mix of layers."""
        if not self._has_choice(self.strengths):
            return Choice(self.strengths[-1])
        sides = [self._sides(of_layer, layer) for of_layer, layer in zip(x, layers, strict=True)]
        fit, dev_x = ([side[which][0] for side in sides] for which in (0, 1))
        (_, y, _), (_, gold, _) = sides[0]

        def quality(strength: float) -> float:
            mix = scalar_mix(fit, y, len(self.train_units.classes), strength=strength)
            return self._score(gold, mix.predict(dev_x))

        return best_strength(self.strengths, quality)

    def of_bag(self, strengths: Sequence[float], x: csr_matrix, vocabulary: int) -> Choice:
        """For a linear model of the words without a model, from a grid of its own; `x` is the bag of the
        training units."""
        if not self._has_choice(strengths):
            return Choice(max(strengths))
        y, out = self.train_units.y, self._held_out
        if self.dev is not None:
            fit, dev_x, gold = (x, y), self.dev[1].bag(vocabulary), self.dev[1].y
        else:
            fit, dev_x, gold = (x[~out], y[~out]), x[out], y[out]
        return best_strength(strengths, lambda s: self._score(gold, bag_of_words(*fit, dev_x, strength=s)))

    def _has_choice(self, strengths: Sequence[float]) -> bool:
        return len(strengths) > 1 and (self._several or self.dev is not None)

    def _score(self, gold: np.ndarray, predicted: np.ndarray) -> float:
        return self.scoring.primary_score(gold, predicted)

    def _sides(self, x: np.ndarray, layer: int) -> tuple[Side, Side]:
        y, groups = self.train_units.y, self.train_units.groups
        if self.dev is not None:
            cache, dev_units = self.dev
            return (x, y, groups), (dev_units.features(cache.hidden(layer)), dev_units.y, dev_units.groups)
        out = self._held_out
        return (x[~out], y[~out], groups[~out]), (x[out], y[out], groups[out])
