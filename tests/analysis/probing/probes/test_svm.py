import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from microtome.analysis.probing.probes import ProbeSettings, svm
from microtome.store.errors import InputError


def rings(seed, rows=300):
    """Classes by distance from the middle, which no plane separates, with some noise in them."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, 5)) * [1, 2, 3, 4, 5] + 2).astype(np.float32)
    radius = np.linalg.norm((x - 2) / [1, 2, 3, 4, 5], axis=1) + 0.3 * rng.normal(size=rows)
    return x, np.digitize(radius, [1.7, 2.4])


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_predictions_are_those_of_scikit_learns_radial_kernel(monkeypatch, strength):
    monkeypatch.setattr(svm, "PREDICTED_ROWS", 64)  # several blocks, the last one shorter
    (x, y), (test_x, _) = rings(1), rings(2)
    scaler = StandardScaler().fit(x)
    probe = svm.SvmProbe(ProbeSettings(strength=strength))
    groups = np.arange(len(x))
    probe.fit(x, y, groups)
    theirs = SVC(kernel="rbf", gamma="scale", C=strength).fit(scaler.transform(x), y)
    np.testing.assert_array_equal(probe.predict(test_x, groups), theirs.predict(scaler.transform(test_x)))
    assert len(set(probe.predict(test_x, groups))) > 1
    number = x[:, 0].copy()
    probe.fit(x, number, groups)
    theirs = SVR(kernel="rbf", gamma="scale", C=strength).fit(scaler.transform(x), number)
    np.testing.assert_allclose(
        probe.predict(test_x, groups), theirs.predict(scaler.transform(test_x)), atol=0.01
    )


def test_raw_features_far_from_zero_lose_nothing_to_rounding():
    (x, y), (test_x, _) = rings(1), rings(2)
    groups, far = np.arange(len(x)), np.float32(4096)  # a distance of 1 is 6e-8 of such a squared norm
    probe = svm.SvmProbe(ProbeSettings(standardise=False))
    probe.fit(x + far, y, groups)
    widened = (x + far).astype(np.float64), (test_x + far).astype(np.float64)
    theirs = SVC(kernel="rbf", gamma="scale").fit(widened[0], y)
    assert (probe.predict(test_x + far, groups) == theirs.predict(widened[1])).mean() > 0.99


def test_numbers_that_hardly_differ_and_features_that_do_not():
    x, _ = rings(1)
    groups = np.arange(len(x))
    probe = svm.SvmProbe(ProbeSettings())
    probe.fit(x, 3 + 0.001 * x[:, 0], groups)
    np.testing.assert_allclose(probe.predict(x, groups), 3, atol=0.2)
    probe.fit(np.ones_like(x), (groups % 3 == 0).astype(np.int64), groups)
    assert probe.predict(np.ones_like(x), groups).tolist() == [0] * len(x)


def test_too_many_rows_for_the_kernel_are_refused(monkeypatch):
    monkeypatch.setattr(svm, "MOST_ROWS", 299)
    x, y = rings(1)
    with pytest.raises(InputError, match="at most 299 training rows, here are 300.*--examples.*linear"):
        svm.SvmProbe(ProbeSettings()).fit(x, y, np.arange(300))
