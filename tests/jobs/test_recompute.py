from dataclasses import replace

import numpy as np
import pytest

from microtome.jobs.demo.corpus import biomedical_text
from microtome.jobs.models import tiny_models as scratch
from microtome.jobs.models.source import CHECKPOINT, find_model
from microtome.jobs.recompute import checkpoint_of, recompute
from microtome.store.artifacts.manifest import write_manifest
from microtome.store.cache.description import CacheDescription
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError, MissingError

ARCHITECTURES = ["bert", "gpt2", "biogpt"]


@pytest.fixture
def cached(bench, tiny_models):
    """cached(task, model, **options): the cache of a tiny model, and the model's folder."""

    def make(kind="ner", name="bert", **options):
        return bench.run(bench.extract(kind, tiny_models / name, **options)), tiny_models / name

    return make


@pytest.fixture
def other_bert(tmp_path):
    """A BERT of the same shape with other weights."""
    texts = biomedical_text(60, seed=5)
    sizes = {"vocabulary": 300, "dim": 16, "layers": 2, "heads": 2, "max_length": 64}
    scratch.create("bert", texts, tmp_path / "other", seed=4, **sizes)
    return tmp_path / "other"


def with_manifest(artifact, **changes):
    """The artifact, its manifest changed on disk as well."""
    manifest = artifact.manifest | changes
    write_manifest(artifact.path, {k: v for k, v in manifest.items() if k != "checksum"})
    return replace(artifact, manifest=manifest)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kind", ["ner", "nli"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_cache_is_what_its_model_makes(cached, name, kind, dtype):
    compared = recompute(*cached(kind, name, dtype=dtype, batch_tokens=200), share=0.2, seed=0)
    assert compared.beyond == ""
    assert (compared.recomputed, compared.examples) == (6, 30)
    bound = {"float16": 0.01, "float32": 1e-4}[dtype]
    assert all(largest <= bound for largest in compared.largest.values())
    assert set(compared.largest) == {"hidden", "attention"}
    if dtype == "float16":
        assert min(compared.largest.values()) > 0  # rounding shows


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_texts_that_were_encoded_separately_are_recomputed_separately(cached, name):
    options = {"keep": ["hidden"], "segments": "separate", "dtype": "float32", "max_length": 30}
    artifact, folder = cached("nli", name, **options)
    compared = recompute(artifact, folder, share=0.1, seed=0)
    assert compared.beyond == ""
    assert set(compared.largest) == {"hidden"}
    assert "attentions not kept" in str(compared)
    outputs = {}
    replace(CacheDescription.of(artifact), segments="together").write(outputs)
    together = with_manifest(artifact, outputs=outputs)
    assert "hidden of layer" in recompute(together, folder, share=0.1, seed=0).beyond


def test_chosen_layers_are_compared_by_their_own_numbers(cached):
    artifact, folder = cached(hidden_layers=[0, 2], attention_layers=[1], dtype="float32")
    assert recompute(artifact, folder, share=0.1, seed=0).beyond == ""


@pytest.mark.parametrize("kept", ["hidden", "attention"])
@pytest.mark.parametrize(("error", "said"), [(0.01, "0.01"), (np.nan, "nan")])
def test_a_wrong_value_is_found(cached, monkeypatch, kept, error, said):
    read = getattr(ActivationCache, kept)

    def changed(self, layer, example):
        return read(self, layer, example) + (error if layer == 1 else 0)

    monkeypatch.setattr(ActivationCache, kept, changed)
    compared = recompute(*cached(dtype="float32"), share=0.1, seed=0)
    assert compared.beyond.startswith(f"{kept} of layer 1, example ")
    assert compared.beyond.endswith(f" differs by {said}")
    assert compared.largest[kept] == pytest.approx(error, abs=1e-3, nan_ok=True)


def test_the_sample_is_seeded_and_never_empty(cached, monkeypatch):
    artifact, folder = cached(keep=["hidden"])
    read = ActivationCache.hidden
    seen = set()

    def hidden(self, layer, example):
        seen.add(example)
        return read(self, layer, example)

    monkeypatch.setattr(ActivationCache, "hidden", hidden)

    def drawn(share, seed):
        seen.clear()
        recompute(artifact, folder, share=share, seed=seed)
        return set(seen)

    assert len(drawn(0.0001, 0)) == 1
    assert len(drawn(1, 0)) == 30
    assert drawn(0.2, 0) == drawn(0.2, 0) != drawn(0.2, 1)


def test_other_weights_behind_the_same_identity_are_found(cached, other_bert):
    artifact, _ = cached(keep=["hidden"])
    assert "hidden of layer 0" in recompute(artifact, other_bert, share=0.1, seed=0).beyond


def test_the_checkpoint_is_found_in_the_store(bench, tiny_models):
    made = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=1))
    artifact = bench.run(bench.extract("ner", made.id, dtype="float32"))
    source = checkpoint_of(artifact, bench.store)
    assert source.description(bench.store) == made.path / CHECKPOINT
    assert recompute(artifact, source.description(bench.store), share=0.1, seed=0).beyond == ""
    bench.store.remove(made)
    labelled = with_manifest(artifact, labels={"model": str(tiny_models / "bert")})
    with pytest.raises(MissingError, match="bert' has other weights. Copy its artifact into this store"):
        checkpoint_of(labelled, bench.store)


def test_a_base_model_is_found_by_label_by_memory_or_by_the_user(bench, cached, tiny_models, monkeypatch):
    artifact, folder = cached(keep=["hidden"])
    with pytest.raises(MissingError, match=r"checkpoint of extract/.* is not here\. .*--model REFERENCE"):
        checkpoint_of(artifact, bench.store)
    assert checkpoint_of(artifact, bench.store, [str(folder)]).path == folder
    labelled = with_manifest(artifact, labels={"model": str(folder)})
    assert checkpoint_of(labelled, bench.store).path == folder
    renamed = with_manifest(artifact, labels={"model": "my-bert"})
    with pytest.raises(MissingError, match=r"\(model 'my-bert', identity [0-9a-f]{8}\) is not here\. "):
        checkpoint_of(renamed, bench.store)
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    bench.store.remember({"model:bert": find_model("bert", bench.store).identity})
    assert checkpoint_of(renamed, bench.store).path == folder


def test_a_model_with_other_weights_is_refused(bench, cached, other_bert, tiny_models):
    artifact, folder = cached(keep=["hidden"])
    with pytest.raises(MissingError, match="is not here; '.*other' has other weights"):
        checkpoint_of(artifact, bench.store, [str(other_bert)])
    assert checkpoint_of(artifact, bench.store, [str(other_bert), str(folder)]).path == folder
    with pytest.raises(InputError, match="did you mean 'biobert'"):
        checkpoint_of(artifact, bench.store, ["biobrt"])
