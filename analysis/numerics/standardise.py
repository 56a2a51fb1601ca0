"""Features on one scale."""

import numpy as np

from microtome.analysis.numerics.parallel import by_blocks

CONSTANT = 1e-5  # deviation over mean; what is below it is rounding


class Standard:
    """To zero mean and unit deviation of the features that it was made from; constant ones become zero.

    Takes and gives float32, [units, features] or [units].
    """

    def __init__(self, x: np.ndarray) -> None:
        ones = np.ones(len(x), np.float32)

        def squares(rows: slice) -> np.ndarray:
            centred = x[rows] - self.mean
            return np.einsum("t...,t...->...", centred, centred).astype(np.float64)

        sums = by_blocks(lambda rows: (ones[rows] @ x[rows]).astype(np.float64), len(x), x[:1].nbytes)
        self.mean = (np.sum(sums, axis=0) / len(x)).astype(np.float32)
        variance = np.sum(by_blocks(squares, len(x), x[:1].nbytes), axis=0) / len(x)
        deviation = np.sqrt(variance).astype(np.float32)
        varies = deviation > CONSTANT * np.abs(self.mean)
        self.scale = np.where(varies, deviation, np.float32(1))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        standard = np.empty_like(x)

        def scale(rows: slice) -> None:
            np.subtract(x[rows], self.mean, out=standard[rows])
            standard[rows] /= self.scale

        by_blocks(scale, len(x), x[:1].nbytes)
        return standard
