"""Adapters on a base in 8 or 4 bits: what transformers is handed, and what is said where it cannot be."""

import importlib.util

import pytest
import torch
from transformers import AutoModelForCausalLM

from microtome.jobs.kinds.adapt import AdaptConfig, adapt_job
from microtome.jobs.models import language, loading, quantised
from microtome.jobs.models.lora import Lora
from microtome.jobs.models.source import find_model
from microtome.jobs.run.executor import run_job
from microtome.store.errors import MissingError

SETTINGS = {"objective": "clm", "corpus": {"format": "synthetic", "topic": "biomedical", "documents": 5}}


@pytest.fixture
def gpu(monkeypatch):
    """A GPU, as far as is asked before a model is loaded."""
    monkeypatch.setattr(quantised, "best_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


def install(monkeypatch, is_there):
    real = importlib.util.find_spec
    spec = {"bitsandbytes": object() if is_there else None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec[name] if name in spec else real(name))


@pytest.mark.parametrize("base", quantised.QUANTISED)
def test_without_a_gpu_it_is_refused_before_anything_is_loaded(bench, tiny_models, monkeypatch, base):
    monkeypatch.setattr(loading, "load_tokenizer", pytest.fail)
    monkeypatch.setattr(loading, "load_language_model", pytest.fail)
    config = AdaptConfig.parse(SETTINGS | {"lora": {"base": base}}, where="test")
    job = adapt_job("a", config, find_model(str(tiny_models / "gpt2"), bench.store))
    error, _ = run_job(job, bench.store.root)
    assert error == (
        f"lora.base: {base} needs a GPU, and this machine has none; set lora.base: bfloat16 or float32"
    )


@pytest.mark.parametrize("base", quantised.QUANTISED)
def test_without_the_package_the_line_says_what_to_install(gpu, monkeypatch, base):
    install(monkeypatch, False)
    with pytest.raises(MissingError, match=rf"lora.base: {base} needs a package: pip install .*quantised"):
        quantised.refuse_where_it_cannot_be(base)
    install(monkeypatch, True)
    quantised.refuse_where_it_cannot_be(base)


@pytest.mark.parametrize("base", ["float32", "bfloat16"])
def test_other_bases_need_neither(base):
    quantised.refuse_where_it_cannot_be(base)
    assert quantised.loading_options(base, "auto") == {"dtype": getattr(torch, base)}


@pytest.mark.parametrize(
    ("base", "precision", "computed"),
    [("8bit", "auto", torch.bfloat16), ("4bit", "auto", torch.bfloat16), ("4bit", "float16", torch.float16)],
)
def test_what_from_pretrained_is_handed(gpu, monkeypatch, tmp_path, base, precision, computed):
    handed = {}

    def from_pretrained(folder, **options):
        handed.update(options)
        return torch.nn.Linear(1, 1), {"missing_keys": set()}

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    options = quantised.loading_options(base, precision)
    loading.load_language_model(tmp_path, language.AUTO["clm"], 0, **options)
    config = handed["quantization_config"]
    assert handed["dtype"] is computed
    assert handed["use_safetensors"]
    assert (config.load_in_8bit, config.load_in_4bit) == (base == "8bit", base == "4bit")
    if base == "4bit":
        assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
        assert config.bnb_4bit_compute_dtype is computed


def test_a_quantised_base_is_made_ready_for_training_and_a_plain_one_left_alone(monkeypatch):
    import peft

    asked = []
    monkeypatch.setattr(
        peft, "prepare_model_for_kbit_training", lambda model, **o: asked.append(o) or "ready"
    )
    model = torch.nn.Linear(1, 1)
    assert quantised.prepared_for_training(model) is model
    model.is_quantized = True
    assert quantised.prepared_for_training(model) == "ready"
    assert asked == [{"use_gradient_checkpointing": False}]


def test_the_base_is_part_of_the_identity():
    identities = [Lora(base=base).identity() for base in ("bfloat16", "8bit", "4bit")]
    assert identities == [{"base": "bfloat16"}, {"base": "8bit"}, {"base": "4bit"}]
    assert Lora().identity() == {}
