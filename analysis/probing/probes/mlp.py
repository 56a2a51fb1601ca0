"""A network with one hidden layer over standardised features."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from microtome.analysis.numerics.standardise import Standardiser
from microtome.analysis.probing.probes.probe import NETWORK, Probe, gold_log_likelihood, smoothed

FEWEST_STEPS = 1000


class MlpProbe(Probe):
    """Network with one hidden layer of rectified units, trained with Adam.

    Takes all settings. The penalty is the linear probe's, 1 / (strength * rows). `epochs` passes over the
    rows, more where that makes fewer than FEWEST_STEPS steps, fewer once the loss has stopped falling.
    Numbers are standardised like the features.
    """

    takes = NETWORK
    probabilistic = True

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> None:
        self._rows, self._shape, self._kind = len(y), y.shape[1:], y.dtype.kind
        self._constant = y[0] if (y == y[0]).all() else None
        if self._constant is not None:
            return
        self._standard = Standardiser(x)
        if self._kind == "f":
            self._target = Standardiser(y)
            y = self._target(y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is chosen
            self._model = self._network().fit(self._standard(x), y.ravel() if self._shape == (1,) else y)

    def predict(self, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
        if self._constant is not None:
            return np.repeat(self._constant[None], len(x), axis=0)
        predicted = self._model.predict(self._standard(x)).reshape(-1, *self._shape)
        if self._kind == "f":
            return predicted * self._target.scale + self._target.mean
        return predicted.astype(np.int64)

    def _log_likelihood(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
        if y.ndim == 1:
            return gold_log_likelihood(self._shares(x), self._seen(), y, classes, self._rows)
        on = self._shares(x).astype(np.float64)
        with np.errstate(divide="ignore"):
            gold = np.log(np.where(y == 1, on, 1 - on))
        return smoothed(gold, np.log(2), 2, self._rows).sum(axis=1)

    def _shares(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of the classes seen [units, seen], or of each class to be on [units, classes]."""
        if self._constant is not None:
            return np.full((len(x), *self._shape), self._constant) if self._shape else np.ones((len(x), 1))
        shares = self._model.predict_proba(self._standard(x))
        return shares[:, -self._shape[0] :] if self._shape else shares

    def _seen(self) -> np.ndarray:
        return self._model.classes_ if self._constant is None else np.array([self._constant])

    def _network(self) -> MLPClassifier | MLPRegressor:
        settings = self.settings
        batch = min(settings.batch_size, self._rows)
        return (MLPRegressor if self._kind == "f" else MLPClassifier)(
            hidden_layer_sizes=(settings.width,),
            alpha=batch / (settings.strength * self._rows),  # scikit-learn divides it by the batch
            batch_size=batch,
            learning_rate_init=settings.learning_rate,
            max_iter=settings.passes(self._rows, FEWEST_STEPS),
            random_state=settings.seed,
        )
