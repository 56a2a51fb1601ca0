import numpy as np

from microtome.analysis.numerics.half_precision import to_float32

PATTERNS = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(np.float16)


def test_every_finite_float16_has_the_bits_that_numpys_cast_gives():
    values = PATTERNS[np.isfinite(PATTERNS)]
    expected = values.astype(np.float32)
    np.testing.assert_array_equal(to_float32(values).view(np.uint32), expected.view(np.uint32))
    np.testing.assert_array_equal(to_float32(values[::3]), expected[::3])


def test_float32_is_copied():
    values = np.ones((2, 3), np.float32)
    copy = to_float32(values.T)
    copy[:] = 0
    assert copy.flags["C_CONTIGUOUS"]
    assert values.all()
