import warnings

import numpy as np
import pytest

from microtome.analysis.probing.probes import ProbeSettings
from microtome.analysis.probing.probes.mlp import MlpProbe

GROUPS = np.arange(400)


def either(seed):
    """One of two features is on, but not both: no plane separates that."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    return x, ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int64)


def test_it_learns_what_a_linear_model_cannot_and_says_nothing_about_convergence():
    (x, y), (asked, gold) = either(1), either(2)
    probe = MlpProbe(ProbeSettings(width=32, learning_rate=0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe.fit(x, y, GROUPS)
    assert (probe.predict(asked, GROUPS) == gold).mean() > 0.9


def test_the_penalty_is_that_of_the_linear_probe_and_does_not_depend_on_the_batch():
    x, y = either(1)
    for batch_size in (20, 200, 1000):
        probe = MlpProbe(ProbeSettings(width=4, strength=0.5, batch_size=batch_size))
        probe.fit(x, y, GROUPS)
        assert probe._model.alpha / probe._model.batch_size == pytest.approx(1 / (0.5 * len(x)))


def test_a_stronger_penalty_makes_smaller_weights():
    x, y = either(1)
    norms = []
    for strength in (1e-3, 1.0):
        probe = MlpProbe(ProbeSettings(width=16, strength=strength))
        probe.fit(x, y, GROUPS)
        norms.append(sum((weights**2).sum() for weights in probe._model.coefs_))
    assert norms[0] < 0.5 * norms[1]


def test_another_seed_is_another_network():
    x, y = either(1)
    found = []
    for seed in (0, 1):
        probe = MlpProbe(ProbeSettings(width=8, seed=seed))
        probe.fit(x, y, GROUPS)
        found.append(probe.log_likelihood(x, y, GROUPS, 2))
    assert not np.allclose(*found)
