"""What a pass computes in, and what a cache is written in."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel

from microtome.jobs.models import loading
from microtome.jobs.models.forward import ForwardPass
from microtome.jobs.models.rounding import as_torch
from microtome.jobs.recompute import recompute
from microtome.jobs.run.executor import run_job
from microtome.store.cache.reader import ActivationCache
from tests.jobs.models.families import make_family, tokenizer_of

PARTS = 2
KEEP = {"keep": ["hidden"], "examples": 12}


@pytest.fixture
def wide(tmp_path, tiny_models):
    """wide(value) -> a BERT of which layer 1 gives about this value in one dimension."""

    def make(value):
        folder = tmp_path / "wide"
        tokenizer_of(tiny_models / "bert").save_pretrained(folder)
        model = AutoModel.from_pretrained(tiny_models / "bert")
        model.encoder.layer[0].output.LayerNorm.bias.data[3] = value
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def several_parts(monkeypatch):
    """Parts of a few examples each."""
    from microtome.jobs.kinds.extraction import run
    from microtome.store.cache import writer

    monkeypatch.setattr(
        run,
        "CacheWriter",
        lambda *args, **more: writer.CacheWriter(*args, **more | {"part_bytes": 16_000}),
    )


def test_values_beyond_float16_lead_to_bfloat16_by_themselves(bench, wide, several_parts):
    job = bench.extract("ner", wide(1e5), **KEEP)
    made = bench.run(job)
    cache = ActivationCache(made.path)
    described = made.manifest["outputs"]["cache"]
    assert len(described["parts"]) > PARTS
    assert all("dtype" not in part for part in described["parts"])
    assert (cache.dtype, described["layout"]["dtype"]) == (np.float32, "bfloat16")
    assert made.settings["extract"]["dtype"] == "float16"
    wanted = ActivationCache(bench.run(bench.extract("ner", wide(1e5), dtype="float32", **KEEP)).path)
    for layer in range(3):
        rounded = torch.from_numpy(wanted.hidden(layer)).to(torch.bfloat16).float().numpy()
        np.testing.assert_array_equal(cache.hidden(layer), rounded)
        np.testing.assert_array_equal(cache.hidden(layer, 5), rounded[slice(*cache.offsets[5:7])])
    assert np.abs(cache.hidden(1)).max() > 65504
    log = bench.store.log_path(job.request).read_text()
    [line] = [line for line in log.splitlines() if "bfloat16" in line]
    assert "hidden of layer 1, example 0, does not fit float16: the cache is written in bfloat16" in line
    assert recompute(made, wide(1e5), share=1, seed=0).beyond == ""


def test_a_late_value_beyond_float16_does_all_parts_again(bench, tiny_models, several_parts, monkeypatch):
    real = ForwardPass.fill
    filled = []

    def fill(self, buffers, batch_tokens):
        ready = real(self, buffers, batch_tokens)
        [buffer] = buffers
        filled.append((str(buffer.arrays["hidden"].dtype), buffer.number))
        if buffer.examples.stop == 12:  # the last part
            as_torch(buffer.arrays["hidden"], self._fills[0].layout.dtype)[2, 0, 5] = 2.0**17
        return ready

    monkeypatch.setattr(ForwardPass, "fill", fill)
    cache = ActivationCache(bench.run(bench.extract("ner", tiny_models / "bert", **KEEP)).path)
    numbers = {dtype: [n for d, n in filled if d == dtype] for dtype in ("float16", "uint16")}
    parts = len(cache.manifest["outputs"]["cache"]["parts"])
    assert numbers["uint16"] == list(range(parts))
    assert len(numbers["float16"]) >= PARTS
    assert cache.dtype == np.float32
    assert (cache.hidden(2) == 2.0**17).sum() == 1


def test_two_that_write_one_cache_agree_on_its_dtype(bench, wide, several_parts, monkeypatch):
    job = bench.extract("ner", wide(1e5), **KEEP)
    real = ForwardPass.fill
    scratch = []

    def fill(self, buffers, batch_tokens):
        if not scratch:  # another process meets a value beyond float16 while this one fills its first part
            [folder] = (bench.store.root / ".staging").rglob("00000.lock")
            scratch.append(folder.parent)
            (folder.parent / "beyond-float16").touch()
            buffers[0].arrays["hidden"][:] = 0
            return [lambda: None]
        return real(self, buffers, batch_tokens)

    monkeypatch.setattr(ForwardPass, "fill", fill)
    cache = ActivationCache(bench.run(job).path)
    assert cache.dtype == np.float32
    assert all(np.abs(cache.hidden(1, example)).max() > 65504 for example in range(12))
    log = bench.store.log_path(job.request).read_text()
    assert "another process met values beyond float16: the cache is written in bfloat16" in log


def test_what_is_not_a_number_is_an_error_and_not_a_wider_dtype(bench, wide):
    job = bench.extract("ner", wide(float("nan")), **KEEP)
    error, _ = run_job(job, bench.store.root)
    assert error.startswith("hidden of layer 1, example 0, is not a finite number as it was computed")
    assert bench.store.find(job.request) is None


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_half_precision_is_near_and_recomputes(bench, tiny_models, compute):
    exact = ActivationCache(
        bench.run(bench.extract("ner", tiny_models / "bert", dtype="float32", examples=6)).path
    )
    made = bench.run(bench.extract("ner", tiny_models / "bert", dtype="float32", examples=6, compute=compute))
    cache = ActivationCache(made.path)
    for layer in range(3):
        difference = np.abs(cache.hidden(layer) - exact.hidden(layer))
        assert 1e-5 < difference.max() < {"bfloat16": 0.1, "float16": 0.02}[compute]
    assert recompute(made, tiny_models / "bert", share=1, seed=0).beyond == ""


def test_what_is_computed_in_is_part_of_the_identity_and_auto_is_what_the_checkpoint_says(
    bench, tmp_path, tiny_models
):
    folder = make_family("llama", tmp_path / "half", tokenizer_of(tiny_models / "bert"))
    values = json.loads((folder / "config.json").read_text())
    assert values["dtype"] == "float32"
    ids = {
        compute: bench.extract("ner", folder, compute=compute).id
        for compute in ("float32", "bfloat16", "auto")
    }
    assert ids["auto"] == ids["float32"] != ids["bfloat16"]
    (folder / "config.json").write_text(json.dumps(values | {"dtype": "bfloat16"}))
    assert bench.extract("ner", folder, compute="auto").config.extract.compute == "bfloat16"
    (folder / "config.json").write_text(json.dumps(values | {"dtype": None}))
    assert bench.extract("ner", folder, compute="auto").config.extract.compute == "float32"


def test_auto_of_what_was_trained_here_is_float32(bench, tiny_models):
    made = bench.run(bench.finetune("nli", tiny_models / "bert", epochs=0.1))
    assert bench.extract("nli", made.id, compute="auto").config.extract.compute == "float32"


@pytest.mark.parametrize(("attentions", "implementation"), [(True, "eager"), (False, "sdpa")])
def test_attention_weights_are_made_only_where_they_are_kept(tiny_models, attentions, implementation):
    model = loading.load_backbone(tiny_models / "bert", torch.device("cpu"), attentions=attentions)
    assert model.config._attn_implementation == implementation


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_small_numbers_are_read_back_within_their_rounding(bench, tiny_models, dtype, form):
    exact = ActivationCache(bench.run(bench.extract("ner", tiny_models / "bert", dtype="float32")).path)
    made = bench.run(bench.extract("ner", tiny_models / "bert", dtype=dtype, format=form))
    cache = ActivationCache(made.path)
    assert (cache.dtype, cache.layout.dtype) == (np.float32, dtype)
    for layer in range(3):
        wanted = exact.hidden(layer)
        largest = np.abs(wanted).max(-1, keepdims=True)
        limit = {"bfloat16": np.abs(wanted) * 2.0**-8, "int8": largest / 127 * 0.501}[dtype]
        difference = np.abs(cache.hidden(layer) - wanted)
        assert (difference <= limit).all()
        assert difference.any()
    for layer in range(2):  # attentions, which are never large, keep the digits of float16
        assert cache.attention(layer, 4).dtype == np.float16
        np.testing.assert_allclose(cache.attention(layer, 4), exact.attention(layer, 4), atol=5e-4)
    assert recompute(made, tiny_models / "bert", share=1, seed=0).beyond == ""


def test_the_errors_of_int8_are_measured_and_printed(bench, tiny_models):
    exact = ActivationCache(bench.run(bench.extract("ner", tiny_models / "bert", dtype="float32")).path)
    job = bench.extract("ner", tiny_models / "bert", dtype="int8", keep=["hidden"])
    cache = ActivationCache(bench.run(job).path)
    shares = []
    for layer in range(3):
        error, values = cache.hidden(layer) - exact.hidden(layer), exact.hidden(layer)
        shares.append(np.sqrt(np.square(error).mean() / np.square(values).mean()))
    log = bench.store.log_path(job.request).read_text()
    [line] = [line for line in log.splitlines() if "int8: rounding errors" in line]
    assert f"are {np.mean(shares):.2%} of the values" in line
    assert f"at most {max(shares):.2%} in a layer (hidden of layer {int(np.argmax(shares))})" in line
    size = {dtype: sum(p.bytes for p in c.description.parts) for dtype, c in (("f4", exact), ("i1", cache))}
    assert size["i1"] < size["f4"] / 2


def test_int8_refuses_what_is_not_a_number(bench, wide):
    error, _ = run_job(bench.extract("ner", wide(float("nan")), dtype="int8", **KEEP), bench.store.root)
    assert error.startswith("hidden of layer 1, example 0, is not a finite number as it was computed")
