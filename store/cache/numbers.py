"""How numbers lie on disk, and back: numpy knows no bfloat16, and int8 needs a scale.

float16, float32   as they are
bfloat16           the upper 16 bits of a float32, as uint16
int8               value / scale, rounded, with a scale of its own for each row: int8 [d + 4], the last four
                   bytes being the scale, a little-endian float32. A row's scale is its largest value over
                   127, so that no value is off by more than half a scale
"""

import numpy as np

STORED: dict[str, np.dtype] = {
    "float16": np.dtype(np.float16),
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(np.uint16),
    "int8": np.dtype(np.int8),
}
SCALE_BYTES = 4
LARGEST = 127  # of an int8, on both sides of zero
EXPONENTS: dict[str, tuple[type[np.unsignedinteger], int]] = {
    "float16": (np.uint16, 0x7C00),
    "float32": (np.uint32, 0x7F800000),
    "bfloat16": (np.uint16, 0x7F80),
}


def stored_width(dtype: str, width: int) -> int:
    """Elements that a row of `width` values takes."""
    return width + SCALE_BYTES if dtype == "int8" else width


def read_dtype(dtype: str) -> np.dtype:
    """The dtype that `decoded` gives."""
    return STORED["float16" if dtype == "float16" else "float32"]


def decoded(stored: np.ndarray, dtype: str, out: np.ndarray | None = None) -> np.ndarray:
    """Stored rows as numbers, [..., stored width] -> [..., width]; `out` is filled if it is given."""
    if dtype == "bfloat16":
        bits = stored.astype(np.uint32)
        bits <<= 16
        values = bits.view(np.float32)
    elif dtype == "int8":
        scale = np.ascontiguousarray(stored[..., -SCALE_BYTES:]).view("<f4")
        values = stored[..., :-SCALE_BYTES] * scale
    else:
        values = stored
    if out is None:
        return values
    out[:] = values
    return out


def non_finite_mask(stored: np.ndarray, dtype: str) -> tuple[np.ndarray, int]:
    """Bits of stored rows, and the mask of the exponent among them: it is all ones in inf and NaN."""
    if dtype == "int8":  # a row with an inf or a NaN has such a scale
        stored, dtype = np.ascontiguousarray(stored[..., -SCALE_BYTES:]).view("<f4"), "float32"
    unsigned, mask = EXPONENTS[dtype]
    return stored.view(unsigned), mask
