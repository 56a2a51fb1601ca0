"""Multinomial logistic regression on standardised features."""

import numpy as np

from analysis.probes.probe import Probe
from analysis.probes.softmax import fit_softmax


class LinearProbe(Probe):
    """L2-regularised; means and deviations are those of the training features. Fitted again on another
    layer, it starts from where it was."""

    _weights: np.ndarray | None = None

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        self._classes, numbers = np.unique(y, return_inverse=True)
        self._mean = x.mean(axis=0)
        deviation = x.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1)
        if len(self._classes) == 1:
            return  # there is nothing to separate
        shape = x.shape[1] + 1, len(self._classes)
        start = self._weights if self._weights is not None and self._weights.shape == shape else None
        self._weights = fit_softmax(
            self._standard(x), numbers, shape[1], strength=self.strength, start=start, seed=self.seed
        )

    def predict(self, x: np.ndarray) -> np.ndarray:
        if len(self._classes) == 1:
            return np.full(len(x), self._classes[0])
        assert self._weights is not None
        weights = self._weights.astype(np.float32)
        logits = self._standard(x) @ weights[:-1] + weights[-1]
        return self._classes[logits.argmax(axis=1)]

    def _standard(self, x: np.ndarray) -> np.ndarray:
        standard = x - self._mean
        standard /= self._scale
        return standard
