import numpy as np

from microtome.analysis.numerics.half_precision import widened

PATTERNS = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(np.float16)


def test_every_finite_half_is_widened_to_the_same_bits():
    halves = PATTERNS[np.isfinite(PATTERNS)]
    expected = halves.astype(np.float32)
    np.testing.assert_array_equal(widened(halves).view(np.uint32), expected.view(np.uint32))
    np.testing.assert_array_equal(widened(halves[::3]), expected[::3])


def test_what_is_single_already_is_copied():
    values = np.ones((2, 3), np.float32)
    copy = widened(values.T)
    copy[:] = 0
    assert copy.flags["C_CONTIGUOUS"]
    assert values.all()
