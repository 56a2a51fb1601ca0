import math

import numpy as np
import pytest

from analysis.attention import AttentionConfig, compare_attention
from store.errors import InputError

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


def table(rows, metric):
    found = np.full((LAYERS, HEADS), np.nan)
    for row in rows:
        if row["metric"] == metric:
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
    cosines, divergences = [], []
    for p, q in zip(old, new, strict=True):
        dot = (p * q).sum((-1, -2))
        cosines.append(dot / np.sqrt((p**2).sum((-1, -2)) * (q**2).sum((-1, -2))))
        m = (p + q) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            kl = [np.nansum(np.where(x > 0, x * np.log(x / m), 0), -1) for x in (p, q)]
        divergences.append((0.5 * kl[0] + 0.5 * kl[1]).mean(-1) / math.log(2))
    np.testing.assert_allclose(table(rows, "cosine"), np.mean(cosines, 0), rtol=1e-5)
    np.testing.assert_allclose(table(rows, "cosine_std"), np.std(cosines, 0), rtol=1e-4)
    np.testing.assert_allclose(table(rows, "jensen_shannon"), np.mean(divergences, 0), rtol=1e-4)
    assert {row["n"] for row in rows} == {len(LENGTHS)}


def test_a_model_compared_with_itself_has_not_changed(make_cache):
    same = cache(make_cache, "same", maps(1))
    rows = compare_attention(AttentionConfig(), same, same)
    np.testing.assert_allclose(table(rows, "cosine"), 1, rtol=1e-6)
    np.testing.assert_allclose(table(rows, "jensen_shannon"), 0, atol=1e-6)


def test_other_tokens_other_architectures_and_no_attentions_are_refused(make_cache):
    one = cache(make_cache, "one", maps(1))
    other_tokens = cache(make_cache, "tokens", maps(1), input_ids=np.arange(sum(LENGTHS)) + 1)
    causal = cache(make_cache, "causal", maps(1, causal=True), causal=True)
    none = cache(make_cache, "none", None)
    for other, message in ((other_tokens, "same tokens"), (causal, "architectures"), (none, "no attentions")):
        with pytest.raises(InputError, match=message):
            compare_attention(AttentionConfig(), one, other)
