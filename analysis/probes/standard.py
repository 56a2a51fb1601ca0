"""Features on one scale."""

import numpy as np


class Standard:
    """To zero mean and unit deviation of the features that it was made from; constant ones become zero."""

    def __init__(self, x: np.ndarray) -> None:
        self.mean = x.mean(axis=0, dtype=np.float32)
        deviation = x.std(axis=0, dtype=np.float32)
        self.scale = np.where(deviation > 0, deviation, np.float32(1))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 of the shape of x, the features last."""
        standard = x - self.mean
        standard /= self.scale
        return standard
