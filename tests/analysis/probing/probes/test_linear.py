import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from microtome.analysis.probing.probes import ProbeSettings
from microtome.analysis.probing.probes.linear import LinearProbe


@pytest.mark.parametrize("classes", [2, 4])
def test_the_likelihood_is_that_of_scikit_learns_logistic_regression(classes):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(500, 6)) * [1, 2, 3, 4, 5, 6] + 1).astype(np.float32)
    y = (x @ rng.normal(size=(6, classes)) + 3 * rng.gumbel(size=(500, classes))).argmax(axis=1)
    groups = np.arange(500)
    probe = LinearProbe(ProbeSettings(strength=0.1))
    probe.fit(x[:400], y[:400], groups[:400])
    scaler = StandardScaler().fit(x[:400])
    theirs = LogisticRegression(C=0.1, tol=1e-6, max_iter=1000).fit(scaler.transform(x[:400]), y[:400])
    shares = theirs.predict_proba(scaler.transform(x[400:]))[np.arange(100), y[400:]]
    share = 1 / (400 + classes)
    np.testing.assert_allclose(
        probe.log_likelihood(x[400:], y[400:], groups[400:], classes),
        np.log((1 - share) * shares + share / classes),
        atol=2e-3,
    )


def test_a_layer_that_says_more_is_found_after_one_that_says_less():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 600)
    groups = np.arange(600)
    noise = rng.normal(size=(600, 5)).astype(np.float32)
    signal = noise.copy()
    signal[np.arange(600), y] += 4
    probe, fresh = LinearProbe(ProbeSettings()), LinearProbe(ProbeSettings())
    probe.fit(noise, y, groups)
    before = probe.log_likelihood(noise, y, groups, 3).sum()
    probe.fit(signal, y, groups)
    fresh.fit(signal, y, groups)
    after = probe.log_likelihood(signal, y, groups, 3)
    assert after.sum() > 0.5 * before
    np.testing.assert_allclose(after, fresh.log_likelihood(signal, y, groups, 3), atol=0.02)
