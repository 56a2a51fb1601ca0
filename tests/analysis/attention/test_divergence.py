import math

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from microtome.analysis.attention.divergence import cosine, jensen_shannon, l1, normalised_entropy


def test_published_values_in_nats():
    p, uniform = np.array([0.5, 0.5, 0, 0]), np.full(4, 0.25)
    assert jensen_shannon(p, uniform) == pytest.approx(0.21576, abs=1e-5)
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(math.log(2))
    assert jensen_shannon(p, p) == 0


def test_symmetric_bounded_and_row_wise():
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(9), size=(2, 5)) for _ in range(2))
    there = jensen_shannon(p, q)
    assert there.shape == (2, 5)
    np.testing.assert_allclose(there, jensen_shannon(q, p), atol=1e-12)
    assert there.min() > 0
    assert there.max() < math.log(2)


def test_keys_that_no_row_sees_add_nothing():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(3), size=2)
    unseen = np.zeros(4)
    padded = jensen_shannon(np.concatenate([p, unseen]), np.concatenate([q, unseen]))
    assert padded == pytest.approx(float(jensen_shannon(p, q)))


def test_cosine_of_flattened_maps_equals_scikit_learn():
    a, b = np.random.default_rng(2).random((2, 3, 4, 4))
    wanted = [cosine_similarity(a[h].reshape(1, -1), b[h].reshape(1, -1)).item() for h in range(3)]
    np.testing.assert_allclose(cosine(a, b), wanted, rtol=1e-5)
    np.testing.assert_allclose(cosine(a, a), 1, rtol=1e-6)


def test_l1_of_rows_is_their_summed_difference():
    p, uniform = np.array([0.5, 0.5, 0, 0]), np.full(4, 0.25)
    assert l1(p, uniform) == pytest.approx(1)
    assert l1(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(2)
    np.testing.assert_allclose(l1(np.stack([p, uniform]), p), [0, 1])


def test_entropy_is_1_where_uniform_and_0_where_one_hot():
    rows = np.array([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(normalised_entropy(rows), [1, 0, 0.5], atol=1e-12)


def test_entropy_is_over_the_keys_that_are_visible():
    causal = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.5, 0.25]])
    visible = np.tril(np.ones((3, 3), bool))
    last = 1.5 * math.log(2) / math.log(3)
    np.testing.assert_allclose(normalised_entropy(causal, visible), [0, 1, last])
    np.testing.assert_allclose(normalised_entropy(causal), [0, math.log(2) / math.log(3), last])
    heads = np.stack([causal, causal[[0, 1, 1]]])
    assert normalised_entropy(heads, visible).shape == (2, 3)


def test_a_row_with_a_single_key_has_no_entropy():
    assert normalised_entropy(np.array([[1.0]])) == 0
    assert normalised_entropy(np.array([0, 1.0]), np.array([False, True])) == 0
