"""Multinomial logistic regression on standardised features."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from analysis.probes.probe import Probe


class LinearProbe(Probe):
    """L2-regularised, fitted by L-BFGS; means and deviations are those of the training features."""

    max_iterations = 300

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        self._scaler = StandardScaler().fit(x)
        self._only = int(y[0]) if len(np.unique(y)) == 1 else None
        if self._only is not None:
            return  # one class: there is nothing to separate
        self._model = LogisticRegression(C=self.strength, max_iter=self.max_iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(self._scaler.transform(x), y)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if self._only is not None:
            return np.full(len(x), self._only)
        return self._model.predict(self._scaler.transform(x))
