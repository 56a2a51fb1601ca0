"""Attentions of which the largest weights of each row are kept."""

import numpy as np
import pytest

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.jobs.recompute import recompute
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError, MissingError
from tests.jobs.models.families import make_family, tokenizer_of

KEEP = {"keep": ["attention"], "examples": 8, "batch_tokens": 100}


@pytest.fixture
def cached(bench, tiny_models):
    def extract(name, **options):
        job = bench.extract("nli", tiny_models / name, **KEEP | options)
        return ActivationCache(bench.run(job).path), bench.store.log_path(job.request).read_text()

    return extract


@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.parametrize("k", [1, 4, 48])
def test_the_largest_weights_are_kept_and_the_rest_is_within_its_bound(cached, name, k):
    whole, _ = cached(name, dtype="float32")
    part, log = cached(name, attention_topk=k)
    masses = []
    for layer in range(2):
        for example, maps in part.iter_attention(layer):
            exact = whole.attention(layer, example)
            weights, keys = part.attention_topk(layer, example)
            largest = -np.sort(-exact, axis=-1)[..., :k]
            width = largest.shape[-1]
            np.testing.assert_allclose(weights[..., :width], largest, atol=5e-4)
            at_keys = np.take_along_axis(exact, keys, -1)
            np.testing.assert_allclose(np.where(weights > 0, at_keys, 0), weights, atol=5e-4)
            mass = weights.astype(np.float32).sum(-1)
            masses.append(mass.ravel())
            maps = maps.astype(np.float32)
            np.testing.assert_array_equal(maps.astype(np.float16), part.attention(layer, example))
            np.testing.assert_allclose(maps.sum(-1), 1, atol=5e-3)
            assert (np.abs(maps - exact).sum(-1) <= 2 * (1 - mass) + 5e-3).all()
            if part.causal:
                assert not np.triu(maps, 1).any()
    [line] = [line for line in log.splitlines() if "attention_topk" in line]
    kept = float(line.split(f"attention_topk {k}: ")[1].split()[0])
    assert kept == pytest.approx(np.concatenate(masses).mean(), abs=5e-3)
    if k == 48:  # more than any row has
        assert kept == pytest.approx(1, abs=1e-3)
    with pytest.raises(MissingError, match="keeps whole rows of attention"):
        whole.attention_topk(0, 0)


def test_comparisons_of_nearly_whole_rows_are_nearly_those_of_whole_rows_and_say_so(cached):
    config = AttentionConfig()
    lines = []
    rows = {}
    for k in (None, 16, 48):
        options = {} if k is None else {"attention_topk": k}
        one, other = cached("bert", **options)[0], cached("bert", max_length=47, **options)[0]
        rows[k] = compare_attention(config, one, other, lines.append)
    said = " ".join(lines)
    assert "attentions are whole maps in bert.small-nli.test.attention" in said
    assert "attentions are the 16 largest weights of each row in bert.small-nli.test.attention.top16" in said
    assert len(rows[None]) == len(rows[16]) == len(rows[48]) > 20
    for exact, near in zip(rows[None], rows[48], strict=True):
        assert near["value"] == pytest.approx(exact["value"], abs=5e-3)


def test_it_takes_less_disk_and_hidden_states_beside_it_are_compared_again(bench, tiny_models, cached):
    sizes = [
        sum(part.bytes for part in cache.description.parts)
        for cache, _ in (cached("bert"), cached("bert", attention_topk=2))
    ]
    assert sizes[1] < sizes[0] / 4
    made = bench.run(
        bench.extract("nli", tiny_models / "bert", examples=4, attention_topk=2, keep=["hidden", "attention"])
    )
    assert recompute(made, tiny_models / "bert", share=1, seed=0).beyond == ""


def test_what_does_not_fit_is_refused(bench, tmp_path, tiny_models):
    with pytest.raises(InputError, match="attention_topk has no effect, as keep leaves out attention"):
        bench.extract("nli", tiny_models / "bert", keep=["hidden"], attention_topk=4)
    folder = make_family("gpt_oss", tmp_path / "sinks", tokenizer_of(tiny_models / "bert"))
    job = bench.extract("nli", folder, keep=["attention"], attention_topk=4)
    assert job.refused.startswith("attention_topk does not fit gpt_oss models, whose attention sinks")
    folder = make_family(
        "llama", tmp_path / "long", tokenizer_of(tiny_models / "bert"), max_position_embeddings=10**6
    )
    job = bench.extract("nli", folder, keep=["attention"], attention_topk=4, max_length=40_000)
    assert job.refused == "attention_topk fits sequences of at most 31,743 tokens, and max_length is 40,000"
