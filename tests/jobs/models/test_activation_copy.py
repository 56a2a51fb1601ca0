"""On a device, parts are filled by index; in host memory, slot by slot. Both give the same bytes."""

import itertools
import weakref

import numpy as np
import pytest
import torch

from microtome.analysis.attention.kept_patterns import KEPT_PATTERNS
from microtome.analysis.attention.patterns import TokenFacts
from microtome.jobs.models.activation_copy import DevicePart, HostPart, Piece
from microtome.jobs.models.rounding import RoundingErrors
from microtome.jobs.models.strongest import KeptMass
from microtome.store.cache.attention_rows import ABSENT
from microtome.store.cache.attention_topk import unpacked
from microtome.store.cache.examples import Examples
from microtome.store.cache.layout import Layout, refuse_non_finite, starts
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


def start_of_pairs(buffer, example):
    return buffer.window("attention", example).start if "attention" in buffer.begin else 0


def filled(part_class, of, *more, spoil=False, facts=None):
    buffer = empty(of)
    part = part_class(buffer, of, RoundingErrors(), KeptMass(), *more, facts=facts)
    torch.manual_seed(0)
    examples = iter(ORDER)
    for lengths in BATCHES:
        pieces = [
            Piece(e, 0, n, buffer.window("hidden", e).start, start_of_pairs(buffer, e))
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


def facts_of(of):
    """Of texts that begin with a special token, and have another one in the middle if they are long."""
    lengths = np.empty(len(ORDER), np.int64)
    lengths[ORDER] = [*itertools.chain.from_iterable(BATCHES)]
    offsets, tokens = starts(lengths), int(lengths.sum())
    places = np.concatenate([np.arange(length) for length in lengths])
    special = (places == 0) | (places == 4)
    examples = Examples(
        offsets=offsets,
        input_ids=np.zeros(tokens, np.int32),
        word_ids=np.where(special, -1, 0).astype(np.int32),
        segment_ids=(places > 4).astype(np.int8),
        special_mask=special,
        word_offsets=np.arange(len(lengths) + 1),
        labels=np.zeros(len(lengths), np.int16),
        spans=np.zeros((len(lengths), 2, 2), np.int32),
        rows=np.arange(len(lengths)),
        documents=np.arange(len(lengths)),
    )
    return TokenFacts(examples, "text", ("a",), causal=of.causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [0, 3, 20])
def test_both_ways_compute_the_same_patterns_and_keep_the_same_rows(causal, rows):
    of = layout(causal, "float32", attention_patterns=KEPT_PATTERNS, attention_rows=rows)
    on_host = filled(HostPart, of, facts=facts_of(of)).arrays
    on_device = filled(DevicePart, of, torch.device("cpu"), facts=facts_of(of)).arrays
    assert set(on_host) == {"hidden", "attention_patterns"} | ({"attention"} if rows else set())
    for name, values in on_host.items():
        assert not (values == 99).any()
        np.testing.assert_allclose(on_device[name], values, rtol=0, atol=1e-6)
    by_name = on_host["attention_patterns"].reshape(HEADS, len(ORDER), -1)
    absent = (by_name == ABSENT).all((0, 1))
    assert [name for name, missing in zip(KEPT_PATTERNS, absent, strict=True) if missing] == [
        "to_entities, special tokens masked",
        "to_entities, special tokens kept",
    ]


def test_a_map_is_let_go_once_its_patterns_are_there():
    of = layout(False, attention_patterns=KEPT_PATTERNS, attention_rows=2)
    buffer = empty(of)
    part = HostPart(buffer, of, RoundingErrors(), KeptMass(), facts=facts_of(of))
    part.next_batch([Piece(3, 0, 7, 0, 0)])
    maps = torch.rand(1, HEADS, 7, 7)
    reference = weakref.ref(maps)
    part.put_attention(0, maps)
    del maps
    assert reference() is None


def test_numbers_that_are_none_are_never_taken_for_a_pattern_that_is_absent():
    of = layout(False, attention_patterns=KEPT_PATTERNS, attention_rows=0)
    buffer = empty(of)
    part = HostPart(buffer, of, RoundingErrors(), KeptMass(), facts=facts_of(of))
    part.next_batch([Piece(3, 0, 7, 0, 0)])
    part.put_attention(0, torch.full((1, HEADS, 7, 7), float("nan")))
    with pytest.raises(MicrotomeError, match="attention_patterns of layer 1, example 3, is not a finite"):
        refuse_non_finite(
            buffer.arrays["attention_patterns"],
            "attention_patterns",
            of,
            buffer.begin["attention_patterns"],
            0,
        )


@pytest.mark.parametrize("part", [(HostPart,), (DevicePart, torch.device("cpu"))])
def test_a_model_that_looks_ahead_is_not_stored_as_causal(part):
    with pytest.raises(MicrotomeError, match="taken for causal"):
        filled(part[0], layout(True), *part[1:], spoil=True)
