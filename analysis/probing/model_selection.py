"""The regularisation of a probe, chosen on units that the fit has not seen."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from microtome.analysis.metrics.selection import Scoring
from microtome.analysis.probing.baselines import bag_of_words
from microtome.analysis.probing.probes import Probe
from microtome.analysis.probing.scalar_mix import scalar_mix
from microtome.analysis.units import Units
from microtome.store import ActivationCache

DEV_SHARE = 0.2  # of the training examples, where there is no dev cache
Side = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, groups


class Chooser:
    """Takes the smallest of the equally good strengths: by the likelihood of the labels, which is less noisy
    than a score, or by the primary score where there are no probabilities.

    It asks `dev`, or a fifth of the examples of `known`, drawn by `seed`.
    """

    def __init__(
        self,
        strengths: Sequence[float],
        scoring: Scoring,
        known: Units,
        dev: tuple[ActivationCache, Units] | None,
        seed: int,
    ) -> None:
        self.strengths = sorted(strengths)
        self.scoring, self.known, self.dev = scoring, known, dev
        examples = np.unique(known.groups)
        self._choice = len(self.strengths) > 1 and len(examples) > 1
        size = max(1, round(DEV_SHARE * len(examples)))
        kept_out = np.random.default_rng([seed, 2]).choice(examples, size, replace=False)
        self._kept_out = np.isin(known.groups, kept_out)

    @property
    def vocabulary(self) -> int:
        """One more than the largest token id of what is fitted and asked."""
        return max(self.known.vocabulary, self.dev[1].vocabulary if self.dev else 0)

    def of_layer(self, probe: Probe, x: np.ndarray, layer: int) -> float:
        """For a probe of one layer; `x` are the features of `known`."""
        if not self._choice or not probe.regularised:
            return self.strengths[-1]
        fit, (asked, gold, groups) = self._sides(x, layer)
        by_likelihood = probe.probabilistic and gold.dtype.kind != "f"

        def quality(strength: float) -> float:
            probe.settings = probe.settings.model_copy(update={"strength": strength})
            probe.fit(*fit)
            if by_likelihood:
                return float(probe.log_likelihood(asked, gold, groups, len(self.known.classes)).sum())
            return self._score(gold, probe.predict(asked, groups))

        return self._best(quality)

    def of_mix(self, x: Sequence[np.ndarray], layers: Sequence[int]) -> float:
        """For one probe of a mix of layers."""
        if not self._choice:
            return self.strengths[-1]
        sides = [self._sides(of_layer, layer) for of_layer, layer in zip(x, layers, strict=True)]
        fit, asked = ([side[which][0] for side in sides] for which in (0, 1))
        (_, y, _), (_, gold, _) = sides[0]

        def quality(strength: float) -> float:
            fitted = scalar_mix(fit, y, len(self.known.classes), strength=strength)
            return self._score(gold, fitted.predict(asked))

        return self._best(quality)

    def of_bag(self, x: csr_matrix, vocabulary: int) -> float:
        """For a linear model of the words alone; `x` is the bag of `known` over this vocabulary."""
        if not self._choice:
            return self.strengths[-1]
        y, out = self.known.y, self._kept_out
        if self.dev is not None:
            fit, asked, gold = (x, y), self.dev[1].bag(vocabulary), self.dev[1].y
        else:
            fit, asked, gold = (x[~out], y[~out]), x[out], y[out]
        return self._best(lambda strength: self._score(gold, bag_of_words(*fit, asked, strength=strength)))

    def _best(self, quality: Callable[[float], float]) -> float:
        return self.strengths[int(np.argmax([quality(strength) for strength in self.strengths]))]

    def _score(self, gold: np.ndarray, predicted: np.ndarray) -> float:
        return self.scoring.scores(gold, predicted)[self.scoring.primary]

    def _sides(self, x: np.ndarray, layer: int) -> tuple[Side, Side]:
        y, groups = self.known.y, self.known.groups
        if self.dev is not None:
            cache, asked = self.dev
            return (x, y, groups), (asked.features(cache.hidden(layer)), asked.y, asked.groups)
        out = self._kept_out
        return (x[~out], y[~out], groups[~out]), (x[out], y[out], groups[out])
