import multiprocessing

import numpy as np
import pytest

from microtome.analysis.numerics.parallel import BLOCK_BYTES, linear_algebra_threads, map_row_blocks


def test_blocks_cover_the_rows_once_in_order():
    rows = np.arange(1000)
    results = map_row_blocks(lambda block: rows[block], len(rows), BLOCK_BYTES // 64)
    assert [len(part) for part in results[:-1]] == [64] * 15
    np.testing.assert_array_equal(np.concatenate(results), rows)
    assert map_row_blocks(lambda block: block, 0, 8) == []


def test_a_row_larger_than_a_block_is_a_block():
    assert map_row_blocks(lambda block: block, 2, 2 * BLOCK_BYTES) == [slice(0, 1), slice(1, 2)]


def test_the_linear_algebra_of_a_block_has_one_thread_and_all_of_them_afterwards():
    before = [library["num_threads"] for library in linear_algebra_threads().info()]
    inside = map_row_blocks(
        lambda block: [library["num_threads"] for library in linear_algebra_threads().info()], 1, 1
    )
    assert inside == [[1] * len(before)]
    assert [library["num_threads"] for library in linear_algebra_threads().info()] == before


def test_what_a_block_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        map_row_blocks(lambda block: 1 / 0, 3, 8)


@pytest.mark.forks
def test_a_fork_has_threads_of_its_own():
    map_row_blocks(lambda block: block, 1, 1)
    child = multiprocessing.get_context("fork").Process(
        target=map_row_blocks, args=(lambda block: block, 9, 1)
    )
    child.start()
    child.join(30)
    assert child.exitcode == 0
