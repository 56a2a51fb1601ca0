import numpy as np
import pytest

from microtome.analysis.probing.control import control_labels, random_labels
from microtome.store.errors import InputError


def test_all_units_of_a_type_share_a_label():
    rng = np.random.default_rng(0)
    types = rng.integers(40, size=2000)
    labels = rng.integers(5, size=2000)
    found = control_labels(types, labels, np.random.default_rng(1))
    assert found.shape == labels.shape
    assert found.dtype == labels.dtype
    assert all(len(set(found[types == t].tolist())) == 1 for t in range(40))
    assert len(set(found.tolist())) > 1


def test_labels_of_types_follow_the_distribution_of_the_labels_over_units():
    labels = np.repeat([0, 1, 2], [700, 250, 50])  # one type has all the zeros and more: types do not count
    types = np.concatenate([np.zeros(750, int), np.arange(1, 251)])
    share = np.zeros(3)
    for seed in range(40):
        found = control_labels(types, labels, np.random.default_rng(seed))
        share += np.bincount(found[750:], minlength=3) / found[750:].size / 40
    np.testing.assert_allclose(share, [0.7, 0.25, 0.05], atol=0.02)


def test_words_may_be_strings_and_labels_rows_or_numbers():
    words = np.array(["cell", "a", "cell", "b", "a"])
    rows = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0]], np.uint8)
    found = control_labels(words, rows, np.random.default_rng(0))
    assert found.shape == rows.shape
    assert {tuple(row) for row in found.tolist()} <= {tuple(row) for row in rows.tolist()}
    assert found[0].tolist() == found[2].tolist()
    scores = np.array([0.5, 1.5, 2.5, 3.5, 4.5], np.float32)
    floats = control_labels(words, scores, np.random.default_rng(0))
    assert floats.dtype == np.float32
    assert set(floats.tolist()) <= set(scores.tolist())
    assert floats[1] == floats[4]


def test_a_seed_repeats_and_another_differs():
    types, labels = np.arange(100), np.arange(100)
    one, same, other = (control_labels(types, labels, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_random_labels_are_drawn_example_by_example():
    labels = np.repeat([0, 1], [9000, 1000])
    found = random_labels(labels, np.random.default_rng(0))
    assert found.shape == labels.shape
    assert found.mean() == pytest.approx(0.1, abs=0.02)
    assert abs(np.corrcoef(found, labels)[0, 1]) < 0.05


def test_empty_and_mismatched_units():
    empty = np.zeros(0, np.int64)
    assert control_labels(empty, empty, np.random.default_rng(0)).shape == (0,)
    assert random_labels(empty, np.random.default_rng(0)).shape == (0,)
    with pytest.raises(InputError, match="2 types, 3 labels"):
        control_labels(np.arange(2), np.arange(3), np.random.default_rng(0))
