"""A linear model of standardised features: logistic regression of classes, ridge regression of numbers."""

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import Ridge

from microtome.analysis.numerics.logistic import fit_softmax, logits
from microtome.analysis.numerics.standardise import Standardiser
from microtome.analysis.probing.probes.probe import Probe, gold_log_likelihood


class LinearProbe(Probe):
    """Linear model with an L2 penalty: logistic regression of classes, ridge regression of numbers.

    Takes `strength`. Every fit starts from zero: one that started from where another ended would stop
    elsewhere within the solver's tolerance, and a layer's score would depend on the layers before it.
    """

    probabilistic = True
    _models: "list[_Classes] | Ridge"

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> None:
        self._standard = Standardiser(x)
        x = self._standard(x)
        self._one_column = y.ndim == 1
        if y.dtype.kind == "f":
            self._models = Ridge(alpha=1 / self.settings.strength).fit(x, y)
            return
        columns = [y] if self._one_column else list(y.T)
        self._models = [_Classes(x, column, self.settings.strength) for column in columns]

    def predict(self, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
        x = self._standard(x)
        if isinstance(self._models, Ridge):
            return self._models.predict(x)
        columns = [model.predict(x) for model in self._models]
        return columns[0] if self._one_column else np.stack(columns, axis=1)

    def _log_likelihood(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
        assert isinstance(self._models, list)
        x = self._standard(x)
        columns, outcomes = ([y], classes) if self._one_column else (list(y.T), 2)
        found = [
            gold_log_likelihood(model.shares(x), model.classes, column, outcomes, model.rows)
            for model, column in zip(self._models, columns, strict=True)
        ]
        return np.sum(found, axis=0)


class _Classes:
    """The logistic regression of one column of class numbers."""

    weights: np.ndarray | None = None  # none where there is nothing to separate

    def __init__(self, x: np.ndarray, y: np.ndarray, strength: float) -> None:
        self.rows = len(y)
        self.classes, numbers = np.unique(y, return_inverse=True)
        if len(self.classes) > 1:
            self.weights = fit_softmax(x, numbers, len(self.classes), strength=strength)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if len(self.classes) == 1:
            return np.full(len(x), self.classes[0])
        return self.classes[self._logits(x).argmax(axis=1)]

    def shares(self, x: np.ndarray) -> np.ndarray:
        """Probabilities [units, classes]."""
        if len(self.classes) == 1:
            return np.ones((len(x), 1))
        return softmax(self._logits(x).astype(np.float64), axis=1)

    def _logits(self, x: np.ndarray) -> np.ndarray:
        assert self.weights is not None
        return logits(x, self.weights)
