import numpy as np
import pytest

from microtome.store.cache.attention_rows import kept_queries


@pytest.mark.parametrize(("length", "rows"), [(1, 1), (5, 4), (40, 16), (4096, 16), (100, 99)])
def test_as_many_queries_as_asked_for_are_kept_each_once_at_equal_distances(length, rows):
    for example in range(50):
        queries = kept_queries(example, length, rows)
        assert len(queries) == rows
        assert queries[0] >= 0
        assert queries[-1] < length
        steps = np.diff(queries)
        assert (steps >= 1).all()
        assert not len(steps) or np.ptp(steps) <= 1


def test_of_a_short_text_every_query_is_kept_and_of_none_none():
    assert kept_queries(7, 3, 16).tolist() == [0, 1, 2]
    assert kept_queries(7, 3, 3).tolist() == [0, 1, 2]
    assert kept_queries(7, 3, 0).tolist() == []


def test_over_many_examples_every_query_is_as_likely_to_be_kept():
    counts = np.bincount(np.concatenate([kept_queries(e, 37, 5) for e in range(1000)]), minlength=37)
    np.testing.assert_allclose(counts / 1000, 5 / 37, atol=0.005)


def test_the_queries_are_these_on_every_machine():
    assert kept_queries(1, 100, 4).tolist() == [15, 40, 65, 90]
    assert kept_queries(12345, 4096, 5).tolist() == [515, 1334, 2154, 2973, 3792]
