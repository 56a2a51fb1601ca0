"""Half precision as caches hold it, widened to what can be computed with."""

import numpy as np

SHIFT = 13  # a float32 has so many more bits of fraction than a float16,
SCALE = np.float32(2.0 ** (127 - 15))  # and its exponent is so much further from zero
KEPT = np.int32(-0x70002000)  # 0x8FFFE000: sign, exponent and fraction of what was shifted


def widened(values: np.ndarray) -> np.ndarray:
    """A float32 copy, exact for finite numbers; numpy's own cast of halves takes several times as long."""
    if values.dtype != np.float16:
        return values.astype(np.float32, order="C")
    bits = values.view(np.int16).astype(np.int32, order="C")  # the sign fills the upper half
    bits <<= SHIFT
    bits &= KEPT
    single = bits.view(np.float32)
    single *= SCALE
    return single
