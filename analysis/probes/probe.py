"""The contract of a probe."""

from abc import ABC, abstractmethod

import numpy as np


class Probe(ABC):
    """Fitted on one layer's training features, asked on its test features.

    One probe is fitted layer after layer, each fit forgetting the one before except as a place to start.
    `strength` is the inverse of the regularisation: smaller keeps the weights smaller.
    """

    def __init__(self, *, strength: float, seed: int) -> None:
        self.strength = strength
        self.seed = seed

    @abstractmethod
    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        """x float32 [units, features]; y int64 [units] of class numbers, int64 [units, classes] of zeros
        and ones, or float32 [units]."""

    @abstractmethod
    def predict(self, x: np.ndarray) -> np.ndarray:
        """What y was: class numbers, zeros and ones, or numbers."""
