"""Support-vector machines with a radial kernel, all from one matrix of kernel values."""

from collections.abc import Iterator

import numpy as np
from sklearn.svm import SVC, SVR

from microtome.analysis.numerics.standardise import Standardiser, as_they_are
from microtome.analysis.probing.probes.probe import Probe
from microtome.store.errors import InputError

MOST_ROWS = 20_000  # in training: their kernel is 1.6 GB in float32, and libsvm copies it to float64
PREDICTED_ROWS = 2048  # at a time, so that their kernel stays small


class SvmProbe(Probe):
    """Support-vector machine with a radial kernel: the inference probe of Bonfigli et al. (2024).

    Takes `strength`, which is C, and `standardise`. gamma is "scale" as scikit-learn has it: 1 / (features *
    variance). One machine for classes, one per class for sets of them, support-vector regression for numbers.
    No more than MOST_ROWS training rows, as memory and time grow with their square.
    """

    takes = ("standardise",)
    probabilistic = False

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> None:
        if len(x) > MOST_ROWS:
            raise InputError(
                f"the svm probe takes at most {MOST_ROWS:,} training rows, here are {len(x):,}; "
                "take fewer (--examples) or the linear probe"
            )
        self._standard = Standardiser(x) if self.settings.standardise else as_they_are
        scaled = self._standard(x)
        self._centre = scaled.mean(axis=0)  # distances do not depend on it, and round less without it
        self._x = scaled - self._centre
        variance = float(self._x.var())
        self._gamma = 1 / (x.shape[1] * variance) if variance else 1.0
        kernel = self._kernel(self._x)
        self._columns = y.ndim == 2
        machine = SVR if y.dtype.kind == "f" else SVC
        self._machines = [
            machine(kernel="precomputed", C=self.settings.strength).fit(kernel, column)
            if (column != column[0]).any()
            else column[0]
            for column in (y.T if self._columns else [y])
        ]

    def predict(self, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
        parts = list(self._predicted(self._standard(x)))
        return np.concatenate(parts) if self._columns else np.concatenate(parts)[:, 0]

    def _predicted(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """[units, machines], block by block."""
        for start in range(0, len(x), PREDICTED_ROWS):
            kernel = self._kernel(x[start : start + PREDICTED_ROWS] - self._centre)
            yield np.stack(
                [
                    machine.predict(kernel)
                    if isinstance(machine, SVC | SVR)
                    else np.full(len(kernel), machine)
                    for machine in self._machines
                ],
                axis=1,
            )

    def _kernel(self, x: np.ndarray) -> np.ndarray:
        """exp(-gamma * squared distance) of rows to training rows, float32 [units, training rows].

        scikit-learn's rbf_kernel widens float32 to float64 block by block; with it the whole probe takes
        1.7 to 2 times as long (`make bench`, 4,000 pairs).
        """
        kernel = x @ self._x.T
        kernel *= -2
        kernel += np.einsum("nd,nd->n", x, x)[:, None]
        kernel += np.einsum("nd,nd->n", self._x, self._x)
        np.maximum(kernel, 0, out=kernel)
        kernel *= -self._gamma
        return np.exp(kernel, out=kernel)
