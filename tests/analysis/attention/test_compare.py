import math

import numpy as np
import pytest

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.analysis.attention.divergence import jensen_shannon
from microtome.analysis.attention.patterns import PATTERNS
from microtome.store.errors import InputError

LENGTHS, LAYERS, HEADS = [3, 6, 4], 2, 2


def maps(seed, causal=False):
    rng = np.random.default_rng(seed)
    found = []
    for length in LENGTHS:
        raw = rng.random((LAYERS, HEADS, length, length)).astype(np.float32) ** 4
        raw = np.tril(raw) if causal else raw
        found.append(raw / raw.sum(-1, keepdims=True))
    return found


def cache(make_cache, name, attention, **more):
    tokens = sum(LENGTHS)
    return make_cache(
        name,
        np.zeros((LAYERS + 1, tokens, 2), np.float32),
        LENGTHS,
        words=[w for n in LENGTHS for w in range(n)],
        labels=[0] * tokens,
        classes=["O"],
        attention=attention,
        **more,
    )


def table(rows, metric, stage=None):
    found = np.full((LAYERS, HEADS), np.nan)
    for row in rows:
        if row["metric"] == metric and row.get("stage") == stage:
            found[row["layer"], row["head"]] = row["value"]
    return found


@pytest.mark.parametrize("causal", [False, True])
def test_means_over_examples_per_layer_and_head(make_cache, causal):
    old, new = maps(1, causal), maps(2, causal)
    rows = compare_attention(
        AttentionConfig(),
        cache(make_cache, "old", old, causal=causal),
        cache(make_cache, "new", new, causal=causal),
    )
    cosines, divergences, differences = [], [], []
    for p, q in zip(old, new, strict=True):
        dot = (p * q).sum((-1, -2))
        cosines.append(dot / np.sqrt((p**2).sum((-1, -2)) * (q**2).sum((-1, -2))))
        m = (p + q) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            kl = [np.nansum(np.where(x > 0, x * np.log(x / m), 0), -1) for x in (p, q)]
        differences.append(np.abs(p - q).sum(-1).mean(-1))
        divergences.append((0.5 * kl[0] + 0.5 * kl[1]).mean(-1) / math.log(2))
    np.testing.assert_allclose(table(rows, "cosine"), np.mean(cosines, 0), rtol=1e-5)
    np.testing.assert_allclose(table(rows, "cosine_std"), np.std(cosines, 0), rtol=1e-4)
    np.testing.assert_allclose(table(rows, "jensen_shannon"), np.mean(divergences, 0), rtol=1e-4)
    np.testing.assert_allclose(table(rows, "l1"), np.mean(differences, 0), rtol=1e-4)
    assert {row["n"] for row in rows} == {len(LENGTHS)}
    assert {row["split"] for row in rows} == {"test"}


def test_a_model_that_has_not_changed(make_cache):
    rows = compare_attention(
        AttentionConfig(), *(cache(make_cache, name, maps(1)) for name in ("one", "same"))
    )
    np.testing.assert_allclose(table(rows, "cosine"), 1, rtol=1e-6)
    for measure in ("jensen_shannon", "l1"):
        np.testing.assert_allclose(table(rows, measure), 0, atol=1e-6)
    for pattern in ("entropy", "distance"):
        np.testing.assert_array_equal(table(rows, pattern, "before"), table(rows, pattern, "after"))


def test_the_same_cache_twice_has_patterns_alone(make_cache):
    one = cache(make_cache, "one", maps(1))
    rows = compare_attention(AttentionConfig(), one, one)
    assert {row["stage"] for row in rows} == {"before"}
    assert {row["metric"].removesuffix("_std") for row in rows} == set(PATTERNS) - {
        "across_segments",
        "to_sink",
    }
    with pytest.raises(InputError, match="nothing to measure"):
        compare_attention(AttentionConfig(patterns=()), one, one)


@pytest.mark.parametrize("causal", [False, True])
def test_patterns_before_and_after(make_cache, causal):
    old, new = maps(1, causal), maps(2, causal)
    caches = [cache(make_cache, name, m, causal=causal) for name, m in (("old", old), ("new", new))]
    rows = compare_attention(AttentionConfig(), *caches)
    unmasked = compare_attention(AttentionConfig(invisible="keep"), *caches)
    for stage, per_example in (("before", old), ("after", new)):
        itself = [np.diagonal(m, axis1=-2, axis2=-1).mean(-1) for m in per_example]
        np.testing.assert_allclose(table(rows, "to_self", stage), np.mean(itself, 0), rtol=1e-5)
        np.testing.assert_allclose(table(rows, "to_self_std", stage), np.std(itself, 0), rtol=1e-4)
        seen, every = (table(r, "entropy", stage) for r in (rows, unmasked))
        assert (seen > every).all() if causal else (seen == every).all()
    if causal:
        assert (table(rows, "to_next", "after") == 0).all()


# [CLS] a b [SEP], one head: before, a row's attention to a and b is 1:1 everywhere; after, it is 3:1.
BEFORE = np.array([[0.4, 0.1, 0.1, 0.4], [0.5, 0.25, 0.25, 0], [0, 0.5, 0.5, 0], [1, 0, 0, 0]])
AFTER = np.array([[0, 0, 0, 1], [0.6, 0.3, 0.1, 0], [0.2, 0.6, 0.2, 0], [0.5, 0, 0, 0.5]])


def framed(make_cache, name, attention, words=(-1, 0, 1, -1), **more):
    """A cache of one layer and one head."""
    lengths = [len(words)] * len(attention)
    return make_cache(
        name,
        np.zeros((2, sum(lengths), 2), np.float32),
        lengths,
        words=list(words) * len(attention),
        labels=[0, 1] * len(attention),
        classes=["O", "B-x"],
        attention=[np.asarray(m, np.float32)[None, None] for m in attention],
        **more,
    )


def value(rows, metric, stage=None):
    [row] = [r for r in rows if r["metric"] == metric and r.get("stage") == stage]
    return row["value"], row["n"]


def test_masked_special_tokens_are_neither_queries_nor_keys(make_cache):
    rows = compare_attention(
        AttentionConfig(), framed(make_cache, "old", [BEFORE]), framed(make_cache, "new", [AFTER])
    )
    p, q = np.array([0.5, 0.5]), np.array([0.75, 0.25])
    assert value(rows, "cosine")[0] == pytest.approx(p @ q / np.sqrt((p @ p) * (q @ q)))
    assert value(rows, "jensen_shannon")[0] == pytest.approx(float(jensen_shannon(p, q)) / math.log(2))
    assert value(rows, "l1")[0] == pytest.approx(0.5)
    assert value(rows, "entropy", "before")[0] == pytest.approx(1)
    assert value(rows, "to_entities", "after")[0] == pytest.approx(0.25)
    assert value(rows, "to_self", "after")[0] == pytest.approx((0.4 * 0.75 + 0.8 * 0.25) / 1.2)
    assert value(rows, "to_special", "before")[0] == pytest.approx((0.8 + 0.5 + 0 + 1) / 4)


def test_special_tokens_can_be_kept(make_cache):
    config = AttentionConfig(special="keep")
    rows = compare_attention(config, framed(make_cache, "old", [BEFORE]), framed(make_cache, "new", [AFTER]))
    wanted = (BEFORE * AFTER).sum() / np.sqrt((BEFORE**2).sum() * (AFTER**2).sum())
    assert value(rows, "cosine")[0] == pytest.approx(wanted)
    assert value(rows, "l1")[0] == pytest.approx(np.abs(BEFORE - AFTER).sum(-1).mean())
    assert value(rows, "to_entities", "before")[0] == pytest.approx((0.1 + 0.25 + 0.5 + 0) / 4)
    assert value(rows, "to_special", "before")[0] == pytest.approx((0.8 + 0.5 + 0 + 1) / 4)


def test_a_row_whose_attention_went_to_special_tokens_is_left_out(make_cache):
    emptied = AFTER.copy()
    emptied[1] = [1, 0, 0, 0]
    nothing = AFTER.copy()
    nothing[1:3] = [1, 0, 0, 0]
    rows = compare_attention(
        AttentionConfig(),
        framed(make_cache, "old", [BEFORE, BEFORE]),
        framed(make_cache, "new", [emptied, nothing]),
    )
    assert value(rows, "l1") == (pytest.approx(0.5), 1)
    assert value(rows, "cosine") == (pytest.approx(1 / math.sqrt(1.25)), 1)
    assert value(rows, "to_self", "before") == (pytest.approx(0.5), 2)
    assert value(rows, "to_self", "after") == (pytest.approx(0.25), 1)
    assert value(rows, "to_special", "after")[1] == 2


def test_a_row_that_masking_leaves_little_of_counts_little(make_cache):
    """After: the second word sends 98 % of its attention to special tokens, and turns what is left around."""
    turned = BEFORE.copy()
    turned[2] = [0.98, 0.0, 0.02, 0]
    one, other = framed(make_cache, "old", [BEFORE]), framed(make_cache, "new", [turned])
    rows = compare_attention(AttentionConfig(), one, other)
    assert value(rows, "l1")[0] == pytest.approx((0.5 * 0 + 0.02 * 1) / 0.52)
    assert value(rows, "to_self", "after")[0] == pytest.approx((0.5 * 0.5 + 0.02 * 1) / 0.52)
    everything = compare_attention(AttentionConfig(special="keep"), one, other)
    assert value(everything, "l1")[0] == pytest.approx((0.98 + 0.5 + 0.48) / 4)


def test_what_goes_to_a_sink_is_measured_and_the_rest_is_compared(make_cache):
    one = framed(make_cache, "old", [BEFORE])
    half = framed(make_cache, "sunk", [BEFORE / 2, BEFORE / 2])
    rows = compare_attention(AttentionConfig(special="keep"), half, half)
    assert value(rows, "to_sink", "before")[0] == pytest.approx(0.5)
    assert value(rows, "to_special", "before")[0] == pytest.approx((0.8 + 0.5 + 0 + 1) / 8)
    changed = compare_attention(AttentionConfig(), one, framed(make_cache, "half", [BEFORE / 2]))
    assert value(changed, "l1")[0] == pytest.approx(0, abs=1e-6)
    assert not [row for row in compare_attention(AttentionConfig(), one, one) if "sink" in row["metric"]]


def test_change_has_an_interval_over_examples(make_cache):
    rows = compare_attention(
        AttentionConfig(),
        framed(make_cache, "old", [BEFORE] * 3),
        framed(make_cache, "new", [AFTER, AFTER, BEFORE]),
    )
    [row] = [row for row in rows if row["metric"] == "l1"]
    assert row["value"] == pytest.approx(1 / 3)
    error = np.std([0.5, 0.5, 0], ddof=1) / np.sqrt(3)
    assert [row["low"], row["high"]] == pytest.approx([1 / 3 - 1.96 * error, 1 / 3 + 1.96 * error])
    assert not [row for row in rows if "low" in row and row["metric"] == "to_self"]


def test_a_separator_between_two_texts_is_cut_out(make_cache):
    """a [SEP] b, the second text being b."""
    maps = [[0.2, 0.5, 0.3], [0, 1, 0], [0.3, 0.4, 0.3]]
    one = framed(make_cache, "pair", [maps], words=(0, -1, 1), segments=[0, 0, 1])
    rows = compare_attention(AttentionConfig(), one, one)
    assert value(rows, "across_segments", "before")[0] == pytest.approx((0.5 * 0.6 + 0.6 * 0.5) / 1.1)
    assert value(rows, "distance", "before")[0] == pytest.approx(2 * (0.5 * 0.6 + 0.6 * 0.5) / 1.1)
    assert value(rows, "to_next", "before")[0] == 0


def test_an_example_of_nothing_but_special_tokens_has_no_rows(make_cache):
    one = framed(make_cache, "bare", [np.eye(2)], words=(-1, -1))
    rows = compare_attention(AttentionConfig(), one, framed(make_cache, "too", [np.eye(2)], words=(-1, -1)))
    assert {row["metric"] for row in rows} == {"to_special", "to_special_std"}


def test_layers_that_are_not_there_are_refused(make_cache):
    one, other = (cache(make_cache, name, maps(1)) for name in ("one", "other"))
    rows = compare_attention(AttentionConfig(layers=(1,)), one, other)
    assert {row["layer"] for row in rows} == {1}
    with pytest.raises(InputError, match="layer 2 is not in"):
        compare_attention(AttentionConfig(layers=(2,)), one, other)


def test_other_tokens_other_architectures_and_no_attentions_are_refused(make_cache):
    one = cache(make_cache, "one", maps(1))
    other_tokens = cache(make_cache, "tokens", maps(1), input_ids=np.arange(sum(LENGTHS)) + 1)
    causal = cache(make_cache, "causal", maps(1, causal=True), causal=True)
    none = cache(make_cache, "none", None)
    for other, message in ((other_tokens, "same tokens"), (causal, "architectures"), (none, "no attentions")):
        with pytest.raises(InputError, match=message):
            compare_attention(AttentionConfig(), one, other)


@pytest.mark.parametrize("causal", [False, True])
def test_the_cosine_of_whole_maps_counts_special_tokens_and_rows_as_they_are_stored(make_cache, causal):
    old, new = maps(1, causal), maps(2, causal)
    words = [w for n in LENGTHS for w in [-1, *range(n - 2), -1]]
    caches = [
        make_cache(
            name,
            np.zeros((LAYERS + 1, sum(LENGTHS), 2), np.float32),
            LENGTHS,
            words=words,
            labels=[0] * sum(n - 2 for n in LENGTHS),
            classes=["O"],
            attention=attention,
            causal=causal,
        )
        for name, attention in (("old", old), ("new", new))
    ]
    rows = compare_attention(AttentionConfig(measures=("cosine_whole", "cosine"), patterns=()), *caches)
    expected = np.mean(
        [
            (p * q).sum((-1, -2)) / np.sqrt((p**2).sum((-1, -2)) * (q**2).sum((-1, -2)))
            for p, q in zip(old, new, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(table(rows, "cosine_whole"), expected, rtol=1e-5)
    assert not np.allclose(table(rows, "cosine"), expected, rtol=1e-3)
