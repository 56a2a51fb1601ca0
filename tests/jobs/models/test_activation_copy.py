"""On a device, parts are filled by index; in host memory, slot by slot. Both give the same bytes."""

import itertools

import numpy as np
import pytest
import torch

from microtome.jobs.models.activation_copy import DevicePart, HostPart, Piece
from microtome.jobs.models.rounding import RoundingErrors
from microtome.jobs.models.strongest import KeptMass
from microtome.store.cache.attention_topk import unpacked
from microtome.store.cache.layout import Layout, starts
from microtome.store.cache.writer import PartBuffer
from microtome.store.errors import MicrotomeError

BATCHES = [[7, 7, 5], [4, 1]]  # lengths
ORDER = [3, 0, 4, 1, 2]  # which example each of them is
HEADS, DIM = 2, 6


def layout(causal, dtype="float16", **more):
    return Layout(
        layers=3,
        heads=HEADS,
        dim=DIM,
        causal=causal,
        dtype=dtype,
        hidden_layers=(0, 2),
        attention_layers=(1,),
        **more,
    )


def empty(of):
    lengths = np.empty(len(ORDER), np.int64)
    lengths[ORDER] = [*itertools.chain.from_iterable(BATCHES)]
    begin = {name: starts(of.extents(name, lengths)) for name in of.names()}
    arrays = {
        name: np.full(of.shape(name, int(begin[name][-1])), 99, of.stored_dtype(name)) for name in begin
    }
    return PartBuffer(0, range(len(ORDER)), arrays, begin)


def filled(part_class, of, *more, spoil=False):
    buffer = empty(of)
    part = part_class(buffer, of, RoundingErrors(), KeptMass(), *more)
    torch.manual_seed(0)
    examples = iter(ORDER)
    for lengths in BATCHES:
        pieces = [
            Piece(e, 0, n, buffer.window("hidden", e).start, buffer.window("attention", e).start)
            for n, e in zip(lengths, examples, strict=False)
        ]
        longest = max(lengths)
        part.next_batch(pieces)
        for index in range(len(of.hidden_layers)):
            part.put_rows("hidden", index, torch.randn(len(lengths), longest, DIM))
        maps = torch.rand(len(lengths), HEADS, longest, longest)
        part.put_attention(0, maps if spoil or not of.causal else maps.tril())
    part.finish()()
    return buffer


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "int8"])
def test_both_ways_fill_every_value_alike(causal, dtype):
    on_host = filled(HostPart, layout(causal, dtype))
    on_device = filled(DevicePart, layout(causal, dtype), torch.device("cpu"))
    for name, values in on_host.arrays.items():
        assert (values.astype(np.float32) != 99).any(-1).all()
        np.testing.assert_array_equal(values, on_device.arrays[name])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_both_ways_keep_the_same_largest_weights(causal, k):
    of = layout(causal, attention_topk=k)
    on_host = filled(HostPart, of).arrays["attention"]
    np.testing.assert_array_equal(on_host, filled(DevicePart, of, torch.device("cpu")).arrays["attention"])
    weights, keys = unpacked(on_host[0], sum(map(sum, BATCHES)))
    assert weights.shape == keys.shape == (HEADS, 24, k)
    assert (np.diff(weights.astype(np.float32)) <= 0).all()
    assert keys.max() < 7


@pytest.mark.parametrize("part", [(HostPart,), (DevicePart, torch.device("cpu"))])
def test_a_model_that_looks_ahead_is_not_stored_as_causal(part):
    with pytest.raises(MicrotomeError, match="taken for causal"):
        filled(part[0], layout(True), *part[1:], spoil=True)
