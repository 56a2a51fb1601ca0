"""A linear model of standardised features: logistic regression of classes, ridge regression of numbers."""

import numpy as np
from sklearn.linear_model import Ridge

from analysis.probes.probe import Probe
from analysis.probes.softmax import fit_softmax


class LinearProbe(Probe):
    """L2-regularised; means and deviations are those of the training features. Fitted again on another
    layer, it starts from where it was."""

    def __init__(self, *, strength: float, seed: int) -> None:
        super().__init__(strength=strength, seed=seed)
        self._models: list[_Classes] | Ridge = []

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        self._mean = x.mean(axis=0)
        deviation = x.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1)
        x = self._standard(x)
        self._one_column = y.ndim == 1
        if y.dtype.kind == "f":
            self._models = Ridge(alpha=1 / self.strength).fit(x, y)
            return
        columns = [y] if self._one_column else list(y.T)
        if not isinstance(self._models, list) or len(self._models) != len(columns):
            self._models = [_Classes() for _ in columns]
        for model, column in zip(self._models, columns, strict=True):
            model.fit(x, column, self.strength, self.seed)

    def predict(self, x: np.ndarray) -> np.ndarray:
        x = self._standard(x)
        if isinstance(self._models, Ridge):
            return self._models.predict(x)
        columns = [model.predict(x) for model in self._models]
        return columns[0] if self._one_column else np.stack(columns, axis=1)

    def _standard(self, x: np.ndarray) -> np.ndarray:
        standard = x - self._mean
        standard /= self._scale
        return standard


class _Classes:
    """The logistic regression of one column of class numbers."""

    weights: np.ndarray | None = None

    def fit(self, x: np.ndarray, y: np.ndarray, strength: float, seed: int) -> None:
        self.classes, numbers = np.unique(y, return_inverse=True)
        if len(self.classes) == 1:
            return  # there is nothing to separate
        shape = x.shape[1] + 1, len(self.classes)
        start = self.weights if self.weights is not None and self.weights.shape == shape else None
        self.weights = fit_softmax(x, numbers, shape[1], strength=strength, start=start, seed=seed)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if len(self.classes) == 1:
            return np.full(len(x), self.classes[0])
        assert self.weights is not None
        weights = self.weights.astype(np.float32)
        return self.classes[(x @ weights[:-1] + weights[-1]).argmax(axis=1)]
