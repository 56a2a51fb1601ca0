"""A model that is spread: here over main memory and disk, as it would be over GPUs."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertForTokenClassification

from microtome.jobs.kinds.generate import GenerateConfig, generate
from microtome.jobs.models import loading, placement
from microtome.jobs.models.source import CHECKPOINT
from microtome.jobs.predict import predict
from microtome.jobs.run.resources import MOST_GPUS, demand, most_gpus
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache


@pytest.fixture
def little_memory(monkeypatch):
    """Main memory for a part of the weights alone; where the models that are loaded have theirs."""
    monkeypatch.setattr(placement, "memory_limits", lambda: {"cpu": 30_000})
    places = []
    real = placement.load_spread

    def load_spread(load, device_map):
        loaded = real(load, device_map)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        places.append(set(map(str, getattr(model, "hf_device_map", {"": "one"}).values())))
        return loaded

    for module in ("loading", "task_heads"):
        monkeypatch.setattr(f"microtome.jobs.models.{module}.load_spread", load_spread)
    return places


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_spread_model_fills_a_cache_with_the_same_values(bench, tiny_models, tmp_path, little_memory, name):
    options = {"dtype": "float32", "batch_tokens": 64}
    folder = tmp_path / name  # with all weights: what a checkpoint lacks cannot be left on disk
    AutoModel.from_pretrained(tiny_models / name).save_pretrained(folder)
    loading.load_tokenizer(tiny_models / name).save_pretrained(folder)
    plain = bench.extract("ner", folder, **options)
    spread = bench.extract("ner", folder, **options, device_map="auto")
    assert spread.id == plain.id
    wanted = ActivationCache(bench.run(plain).path)
    bench.store = Store(tmp_path / "spread")
    made = ActivationCache(bench.run(spread).path)
    assert little_memory[0] == {"one"}
    assert "disk" in little_memory[1]
    for layer in range(wanted.layers + 1):
        np.testing.assert_array_equal(made.hidden(layer), wanted.hidden(layer))
    for layer in range(wanted.layers):
        for (_, maps), (_, expected) in zip(
            made.iter_attention(layer), wanted.iter_attention(layer), strict=True
        ):
            np.testing.assert_array_equal(maps, expected)


def test_a_spread_model_writes_the_same(tiny_models, little_memory):
    prompts = ["the cell", "a gene of"]
    plain, spread = (
        generate(tiny_models / "gpt2", prompts, GenerateConfig(max_new_tokens=6, device_map=device_map))
        for device_map in ("one", "auto")
    )
    assert plain == spread
    assert "disk" in little_memory[1]


def test_a_spread_model_predicts_the_same(bench, tiny_models, little_memory):
    made = bench.run(bench.finetune("nli", tiny_models / "bert", epochs=1))
    little_memory.clear()
    job = bench.extract("nli", tiny_models / "bert")
    examples = job.sources.data.read("test")
    plain, spread = (
        list(predict(made, made.contents.path(CHECKPOINT), examples, None, device_map))
        for device_map in ("one", "auto")
    )
    assert len(plain) == len(examples)
    assert plain == spread
    assert "disk" in little_memory[1]


def test_what_is_not_spread_is_on_one_device(tiny_models):
    model = loading.load_backbone(tiny_models / "bert", loading.best_device())
    assert not placement.is_spread(model)
    assert placement.input_device(model) == loading.best_device()


def test_a_job_whose_model_is_spread_takes_the_gpus_that_it_is_given(bench, tiny_models):
    one = bench.extract("ner", tiny_models / "bert")
    several = bench.extract("ner", tiny_models / "bert", device_map="auto")
    assert demand(gpus=4, cpus=1, memory=0, most=most_gpus(one.config)).gpus == MOST_GPUS
    assert demand(gpus=4, cpus=1, memory=0, most=most_gpus(several.config)).gpus == 4
    assert most_gpus(GenerateConfig(device_map="auto")) == float("inf")


def test_what_a_checkpoint_lacks_is_not_looked_for_on_disk(tiny_models, tmp_path, little_memory):
    """The base of a BERT for tokens has a pooler, of which its checkpoint has no weights."""
    tagger = BertForTokenClassification.from_pretrained(tiny_models / "bert")
    tagger.save_pretrained(tmp_path)
    wanted = loading.load_backbone(tmp_path, torch.device("cpu"))
    spread = loading.load_backbone(tmp_path, torch.device("cpu"), device_map="auto")
    assert "disk" in little_memory[-1]
    assert spread.hf_device_map["pooler.dense"] == "cpu"
    ids = torch.arange(1, 9)[None]
    with torch.inference_mode():
        states, expected = (model(input_ids=ids).last_hidden_state for model in (spread, wanted))
    torch.testing.assert_close(states, expected)


def test_only_what_is_lacking_leaves_the_disk():
    model = torch.nn.ModuleDict(
        {"block": torch.nn.ModuleDict({"one": torch.nn.Linear(2, 2), "two": torch.nn.Linear(2, 2)})}
    )
    places = {"block": "disk"}
    placement._keep_in_memory("block.two.bias", model, places)
    assert places == {"block.one": "disk", "block.two": "cpu"}
    placement._keep_in_memory("block.two.weight", model, places)
    assert places == {"block.one": "disk", "block.two": "cpu"}
