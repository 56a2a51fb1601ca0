"""Half precision, in which caches hold activations, turned into single precision for arithmetic."""

import numpy as np

SHIFT = 13  # a float32 has so many more bits of fraction than a float16,
SCALE = np.float32(2.0 ** (127 - 15))  # and its exponent counts from so much further below
USED_BITS = np.int32(-0x70002000)  # 0x8FFFE000: where sign, exponent and fraction lie after the shift


def to_float32(values: np.ndarray) -> np.ndarray:
    """A float32 copy, exact for finite numbers; numpy's own cast of float16 takes several times as long."""
    if values.dtype != np.float16:
        return values.astype(np.float32, order="C")
    bits = values.view(np.int16).astype(np.int32, order="C")  # the sign fills the upper 16 bits
    bits <<= SHIFT
    bits &= USED_BITS
    single = bits.view(np.float32)
    single *= SCALE
    return single
