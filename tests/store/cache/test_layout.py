import numpy as np
import pytest

from microtome.store.cache.layout import Layout, pack_attention, pairs, plan_parts, starts, unpack_attention
from microtome.store.errors import InputError


def layout(**changes):
    values = {"layers": 2, "heads": 3, "dim": 4, "causal": False, "dtype": "float16"}
    values |= {"hidden_layers": (0, 1, 2), "attention_layers": (0, 1)} | changes
    return Layout(**values)


def causal_maps(size, heads=2):
    maps = np.tril(np.random.default_rng(0).random((heads, size, size)))
    return maps / maps.sum(-1, keepdims=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_packing_and_unpacking_gives_the_square_back(causal, size):
    square = causal_maps(size) if causal else np.random.default_rng(1).random((2, size, size))
    packed = pack_attention(square, causal)
    assert packed.shape == (2, int(pairs(np.array(size), causal)))
    np.testing.assert_array_equal(unpack_attention(packed, size, causal), square)


def test_a_causal_model_stores_the_lower_triangle_row_by_row():
    square = np.arange(9.0).reshape(1, 3, 3)
    assert pack_attention(square, causal=True).tolist() == [[0, 3, 4, 6, 7, 8]]


def test_sizes_are_known_before_anything_is_computed():
    lengths = np.array([3, 5])
    assert layout().bytes_per_example(lengths).tolist() == [
        2 * (3 * 3 * 4 + 2 * 3 * 9),
        2 * (3 * 5 * 4 + 2 * 3 * 25),
    ]
    assert layout(causal=True, hidden_layers=()).bytes_per_example(lengths).tolist() == [72, 180]
    assert layout(dtype="float32", attention_layers=()).bytes_per_example(lengths).tolist() == [144, 240]


def test_parts_are_contiguous_ranges_within_the_budget():
    parts = plan_parts(np.array([4, 4, 4, 10, 1, 1]), budget=8)
    assert parts == [range(0, 2), range(2, 3), range(3, 4), range(4, 6)]
    assert plan_parts(np.array([], int), budget=8) == []


def test_starts_ends_with_the_total():
    assert starts(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int4"}, "dtype 'int4'"),
        ({"hidden_layers": (3,)}, r"hidden layer 3 does not exist: this model has 0..2"),
        ({"attention_layers": (2,)}, r"attention layer 2 does not exist: this model has 0..1"),
        ({"hidden_layers": (), "attention_layers": ()}, "nothing to keep"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        layout(**changes)
