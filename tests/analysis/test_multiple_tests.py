import numpy as np

from microtome.analysis.multiple_tests import holm


def test_holm_by_hand():
    corrected = holm(np.array([0.01, 0.04, 0.03, np.nan, 0.005]))
    np.testing.assert_allclose(corrected, [0.03, 0.06, 0.06, np.nan, 0.02])


def test_no_probability_is_above_one_and_one_test_stays_as_it_is():
    np.testing.assert_allclose(holm(np.array([0.4, 0.9])), [0.8, 0.9])
    np.testing.assert_allclose(holm(np.array([0.7, 0.6, 0.8])), [1, 1, 1])
    np.testing.assert_allclose(holm(np.array([np.nan, 0.3])), [np.nan, 0.3])
    assert holm(np.array([])).shape == (0,)


def test_of_many_tests_without_an_effect_one_is_rarely_left():
    rng = np.random.default_rng(0)
    alarms = [(holm(rng.random(20)) <= 0.05).any() for _ in range(2000)]
    assert 0.035 <= np.mean(alarms) <= 0.065
