"""The contract of a probe."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field

from microtome.store.config import Config, Seed
from microtome.store.errors import InputError

NETWORK = ("width", "epochs", "batch_size", "learning_rate")  # the settings that only networks take
OPTIONAL = (*NETWORK, "fewest_steps", "standardise")  # those that not every probe takes


class FitSettings(Config):
    """How a probe is fitted, whatever its regularisation; what a user may set is declared here and nowhere
    else."""

    width: int = Field(256, ge=1, description="hidden units of mlp and bilstm-crf")
    epochs: int = Field(3, ge=1, description="of bilstm-crf, at least")
    batch_size: int = Field(64, ge=1, description="of bilstm-crf, in sentences, and mlp")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, for bilstm-crf and mlp")
    fewest_steps: int = Field(
        300, ge=1, description="of bilstm-crf: where its epochs make fewer steps, there are more epochs"
    )
    standardise: bool = Field(
        True,
        description="of svm and bilstm-crf: features to mean 0 and variance 1; false takes them as they are",
    )
    seed: Seed = Field(0, description="of control labels, blocks, the split for dev, and probes that draw")


class ProbeSettings(FitSettings):
    """What a probe may be told; each says in its docstring what it takes from here."""

    strength: float = Field(1.0, gt=0, description="inverse L2 regularisation")

    def passes(self, rows: int, fewest_steps: int) -> int:
        """`epochs`, or on few rows as many passes over them as make `fewest_steps` steps."""
        return max(self.epochs, -(-fewest_steps // -(-rows // self.batch_size)))


class Probe(ABC):
    """Fitted on one layer's training features, asked on its test features.

    x       float32 [units, features]
    y       int64 [units] of class numbers, int64 [units, classes] of zeros and ones, or float32 [units]
    groups  int64 [units]: the example of each unit, ascending; units of an example stand in their order

    One probe is fitted layer after layer, and each fit forgets the one before: what it finds depends on its
    own units and settings alone. `settings` may be replaced between two fits.
    """

    regularised: ClassVar[bool] = True  # whether `strength` means anything
    takes: ClassVar[tuple[str, ...]] = ()  # of the settings, besides strength and seed
    probabilistic: ClassVar[bool]  # whether log_likelihood is defined for classes and sets of classes
    settings: ProbeSettings

    def __init__(self, settings: ProbeSettings) -> None:
        self.settings = settings

    @abstractmethod
    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> None:
        """InputError where y or its size is not for this probe."""

    @abstractmethod
    def predict(self, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """What y was: class numbers, zeros and ones, or numbers."""

    def log_likelihood(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
        """Natural logarithm of the probability of each unit's gold label, float64 [units].

        Summed over the classes where y is a set of them. `classes` is how many the task has; one that the
        training units did not have is not impossible (see `smoothed`). InputError for numbers, and from a
        probe without probabilities.
        """
        if y.dtype.kind == "f":
            raise InputError("a likelihood is defined for classes; this task's labels are numbers")
        if not self.probabilistic:
            raise InputError(f"{type(self).__name__} gives no probabilities; choose one that does (linear)")
        return self._log_likelihood(x, y, groups, classes)

    def _log_likelihood(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
        raise NotImplementedError


def gold_log_likelihood(
    shares: np.ndarray, seen: np.ndarray, y: np.ndarray, classes: int, rows: int
) -> np.ndarray:
    """From probabilities [units, seen] of the class numbers `seen`, ascending: float64 [units], smoothed."""
    column = np.minimum(np.searchsorted(seen, y), len(seen) - 1)
    gold = np.where(seen[column] == y, shares[np.arange(len(y)), column].astype(np.float64), 0.0)
    with np.errstate(divide="ignore"):
        return smoothed(np.log(gold), np.log(classes), classes, rows)


def smoothed(
    log_likelihood: np.ndarray, log_outcomes: np.ndarray | float, classes: int, rows: int
) -> np.ndarray:
    """Mixed with the uniform distribution over e^`log_outcomes` outcomes, whose share is
    1 / (training rows + classes): what training did not show stays possible, and uniform stays uniform."""
    share = 1 / (rows + classes)
    return np.logaddexp(np.log1p(-share) + log_likelihood, np.log(share) - log_outcomes)
