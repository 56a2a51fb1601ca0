"""The regularisation of a probe, chosen on units that the fit has not seen."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from microtome.analysis.probing.baselines import bag_of_words
from microtome.analysis.probing.probes import Probe
from microtome.analysis.probing.scalar_mix import scalar_mix
from microtome.analysis.probing.scoring import Scoring
from microtome.analysis.units import Units
from microtome.store import ActivationCache

DEV_SHARE = 0.2  # of the training examples, where there is no dev cache
Side = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, groups


class Chooser:
    """Takes the smallest of the equally good strengths: by the likelihood of the labels, which is less noisy
    than a score, or by the primary score where there are no probabilities.

    It compares them on `dev`, or on a fifth of the training examples, which `seed` picks.
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
        examples = np.unique(train_units.groups)
        self._choice = len(self.strengths) > 1 and len(examples) > 1
        size = max(1, round(DEV_SHARE * len(examples)))
        held_out = np.random.default_rng([seed, 2]).choice(examples, size, replace=False)
        self._held_out = np.isin(train_units.groups, held_out)

    @property
    def vocabulary(self) -> int:
        """One more than the largest token id of the training and dev units."""
        return max(self.train_units.vocabulary, self.dev[1].vocabulary if self.dev else 0)

    def of_layer(self, probe: Probe, x: np.ndarray, layer: int) -> float:
        """For a probe of one layer; `x` are the features of the training units."""
        if not self._choice or not probe.regularised:
            return self.strengths[-1]
        fit, (dev_x, gold, groups) = self._sides(x, layer)
        by_likelihood = probe.probabilistic and gold.dtype.kind != "f"

        def quality(strength: float) -> float:
            probe.settings = probe.settings.model_copy(update={"strength": strength})
            probe.fit(*fit)
            if by_likelihood:
                return float(probe.log_likelihood(dev_x, gold, groups, len(self.train_units.classes)).sum())
            return self._score(gold, probe.predict(dev_x, groups))

        return self._best(quality)

    def dev_score(self, probe: Probe, layer: int) -> float | None:
        """The primary score on dev of a probe that was fitted on all training units: what a layer may be
        chosen by. None without a dev cache."""
        if self.dev is None:
            return None
        cache, dev_units = self.dev
        dev_x = dev_units.features(cache.hidden(layer))
        return self._score(dev_units.y, probe.predict(dev_x, dev_units.groups))

    def of_mix(self, x: Sequence[np.ndarray], layers: Sequence[int]) -> float:
        """For one probe of a mix of layers."""
        if not self._choice:
            return self.strengths[-1]
        sides = [self._sides(of_layer, layer) for of_layer, layer in zip(x, layers, strict=True)]
        fit, dev_x = ([side[which][0] for side in sides] for which in (0, 1))
        (_, y, _), (_, gold, _) = sides[0]

        def quality(strength: float) -> float:
            mix = scalar_mix(fit, y, len(self.train_units.classes), strength=strength)
            return self._score(gold, mix.predict(dev_x))

        return self._best(quality)

    def of_bag(self, x: csr_matrix, vocabulary: int) -> float:
        """For a linear model of the words alone; `x` is the bag of the training units."""
        if not self._choice:
            return self.strengths[-1]
        y, out = self.train_units.y, self._held_out
        if self.dev is not None:
            fit, dev_x, gold = (x, y), self.dev[1].bag(vocabulary), self.dev[1].y
        else:
            fit, dev_x, gold = (x[~out], y[~out]), x[out], y[out]
        return self._best(lambda strength: self._score(gold, bag_of_words(*fit, dev_x, strength=strength)))

    def _best(self, quality: Callable[[float], float]) -> float:
        return self.strengths[int(np.argmax([quality(strength) for strength in self.strengths]))]

    def _score(self, gold: np.ndarray, predicted: np.ndarray) -> float:
        return self.scoring.primary_score(gold, predicted)

    def _sides(self, x: np.ndarray, layer: int) -> tuple[Side, Side]:
        y, groups = self.train_units.y, self.train_units.groups
        if self.dev is not None:
            cache, dev_units = self.dev
            return (x, y, groups), (dev_units.features(cache.hidden(layer)), dev_units.y, dev_units.groups)
        out = self._held_out
        return (x[~out], y[~out], groups[~out]), (x[out], y[out], groups[out])
