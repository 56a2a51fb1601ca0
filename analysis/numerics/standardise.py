"""Features on one scale."""

import numpy as np

from microtome.analysis.numerics.parallel import map_row_blocks

ROUNDING = 1e-5  # a feature whose deviation is a smaller share of its mean than this is constant


class Standardiser:
    """Scales features to zero mean and unit deviation over the rows it was made from; constant ones become
    zero.

    Takes and gives float32, [units, features] or [units].
    """

    def __init__(self, x: np.ndarray) -> None:
        ones = np.ones(len(x), np.float32)

        def squares(rows: slice) -> np.ndarray:
            centred = x[rows] - self.mean
            return np.einsum("t...,t...->...", centred, centred).astype(np.float64)

        totals = map_row_blocks(lambda rows: (ones[rows] @ x[rows]).astype(np.float64), len(x), x[:1].nbytes)
        self.mean = (np.sum(totals, axis=0) / len(x)).astype(np.float32)
        variance = np.sum(map_row_blocks(squares, len(x), x[:1].nbytes), axis=0) / len(x)
        deviation = np.sqrt(variance).astype(np.float32)
        varies = deviation > ROUNDING * np.abs(self.mean)
        self.scale = np.where(varies, deviation, np.float32(1))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        scaled = np.empty_like(x)

        def scale_block(rows: slice) -> None:
            np.subtract(x[rows], self.mean, out=scaled[rows])
            scaled[rows] /= self.scale

        map_row_blocks(scale_block, len(x), x[:1].nbytes)
        return scaled


def as_they_are(x: np.ndarray) -> np.ndarray:
    """In place of a Standardiser, where features are not to be changed."""
    return np.asarray(x, np.float32)
