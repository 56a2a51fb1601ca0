"""Attention sinks of a real model: rows that sum to less than one are kept as they are, and compared."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.store.cache.reader import ActivationCache
from tests.jobs.models.families import make_changed, make_family, tokenizer_of

KEEP = {"keep": ["attention"], "examples": 6, "batch_tokens": 200, "dtype": "float32"}
LAYERS, HEADS = 3, 4


@pytest.fixture
def model(tmp_path, tiny_models):
    return make_family("gpt_oss", tmp_path / "before", tokenizer_of(tiny_models / "bert"))


@pytest.fixture
def deeper(model, tmp_path):
    """The same model with deeper sinks, and nothing else."""
    changed = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        for layer in changed.model.layers:
            layer.self_attn.sinks += 2.0
    changed.save_pretrained(tmp_path / "deeper")
    AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path / "deeper")
    return tmp_path / "deeper"


@pytest.fixture
def cached(bench):
    return lambda folder, **more: ActivationCache(bench.run(bench.extract("nli", folder, **KEEP | more)).path)


def table(rows, metric, stage=None):
    values = np.full((LAYERS, HEADS), np.nan)
    for row in rows:
        if row["metric"] == metric and row.get("stage") == stage:
            values[row["layer"], row["head"]] = row["value"]
    return values


def maps_of(folder, cache):
    """What transformers itself gives: of each example [layers, heads, T, T]."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    maps = []
    for start, stop in zip(cache.offsets, cache.offsets[1:], strict=False):
        ids = torch.from_numpy(cache.input_ids[start:stop].astype(np.int64))[None]
        with torch.inference_mode():
            maps.append(torch.cat(model.eval()(input_ids=ids, output_attentions=True).attentions).numpy())
    return maps


def test_rows_are_kept_as_they_are_and_their_shares_are_those_of_the_model(model, tmp_path, cached):
    changed = make_changed(model, tmp_path / "after", scale=0.1)
    before, after = cached(model), cached(changed)
    old, new = maps_of(model, before), maps_of(changed, after)
    for example in range(before.examples):
        for layer in range(LAYERS):
            np.testing.assert_allclose(before.attention(layer, example), old[example][layer], atol=1e-5)
    assert max(one.sum(-1).max() for one in old) < 0.999
    rows = compare_attention(AttentionConfig(special="keep"), before, after)
    for stage, maps in (("before", old), ("after", new)):
        sunk = np.mean([1 - one.sum(-1).mean(-1) for one in maps], 0)
        assert sunk.min() > 0.01
        np.testing.assert_allclose(table(rows, "to_sink", stage), sunk, atol=1e-5)
        entropies = []
        for one in maps:
            mass = one.sum(-1)
            p = one / mass[..., None]
            in_nats = -(p * np.log(np.where(p > 0, p, 1))).sum(-1)
            visible = np.log(np.maximum(np.arange(1, one.shape[-1] + 1), 2))
            entropies.append((mass * in_nats / visible).sum(-1) / mass.sum(-1))
        np.testing.assert_allclose(table(rows, "entropy", stage), np.mean(entropies, 0), atol=1e-4)
    divergences = []
    for one, other in zip(old, new, strict=True):
        masses = one.sum(-1), other.sum(-1)
        p, q = (maps / mass[..., None] for maps, mass in zip((one, other), masses, strict=True))
        m = (p + q) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            kl = [np.where(x > 0, x * np.log(x / m), 0).sum(-1) for x in (p, q)]
        mass = np.minimum(*masses)
        divergences.append(((kl[0] + kl[1]) / 2 * mass).sum(-1) / mass.sum(-1) / np.log(2))
    change = np.mean(divergences, 0)
    assert change.min() > 1e-4
    np.testing.assert_allclose(table(rows, "jensen_shannon"), change, atol=1e-4)


@pytest.mark.parametrize("kept", [{}, {"attention_keep": "patterns", "attention_rows": 8}])
def test_a_deeper_sink_is_seen_as_such_and_not_as_another_way_to_attend(model, deeper, cached, kept):
    """In layer 0 a sink scales each row and does nothing else."""
    measures = ("cosine", "jensen_shannon", "l1")
    config = AttentionConfig(special="keep", measures=measures)
    rows = compare_attention(config, cached(model, **kept), cached(deeper, **kept))
    more = table(rows, "to_sink", "after") - table(rows, "to_sink", "before")
    assert (more > 0.1).all()
    np.testing.assert_allclose(table(rows, "cosine")[0], 1, atol=1e-5)
    np.testing.assert_allclose(table(rows, "jensen_shannon")[0], 0, atol=1e-5)
    np.testing.assert_allclose(table(rows, "l1")[0], 0, atol=1e-5)
    assert (table(rows, "l1")[1:] > 1e-3).all()  # the layers above read other hidden states
