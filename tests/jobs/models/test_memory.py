"""The memory of a pass, counted without numbers, against what the profiler sees of one with numbers."""

from types import SimpleNamespace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig, AutoModel

from microtome.jobs.kinds.extraction import parts
from microtome.jobs.models import memory, placement
from microtome.jobs.models.memory import fitting_tokens, pass_bytes
from tests.jobs.models.families import FAMILIES

SEQUENCES, LENGTH = 8, 60


def built(kind, attention):
    config = AutoConfig.for_model(kind, **FAMILIES[kind])
    model = AutoModel.from_config(config, attn_implementation=attention).eval()
    model.config.use_cache = False
    return model.get_encoder() if config.is_encoder_decoder else model


@torch.inference_mode()
def measured(model):
    """The most bytes that were allocated at a time in a pass."""
    ids = torch.zeros((SEQUENCES, LENGTH), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[0, 40:] = 0
    model(input_ids=ids, attention_mask=mask)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        model(input_ids=ids, attention_mask=mask)
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize(
    "kind", ["bert", "deberta-v2", "albert", "t5", "gpt2", "opt", "llama", "gemma2", "mamba"]
)
def test_it_is_what_a_pass_with_maps_takes(kind):
    model = built(kind, "eager")
    assert pass_bytes(model, SEQUENCES, LENGTH) == pytest.approx(measured(model), rel=0.1)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_it_is_what_a_pass_without_maps_takes(kind):
    model = built(kind, "sdpa")
    assert pass_bytes(model, SEQUENCES, LENGTH) == pytest.approx(measured(model), rel=0.1)


def test_experts_that_are_chosen_by_value_cannot_be_counted():
    assert pass_bytes(built("mixtral", "eager"), 2, 8) is None


def test_nothing_is_allocated_for_a_model_of_any_size():
    config = AutoConfig.for_model("llama")  # 7 billion weights
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    needed = {length: pass_bytes(model, 1, length) for length in (2048, 4096)}
    assert needed[2048] > 2048 * config.hidden_size * 2
    assert 1.8 < needed[4096] / needed[2048] < 2.5
    assert model.num_parameters() > 6e9


def test_the_batch_is_halved_until_it_fits():
    model = built("bert", "eager")
    needed = pass_bytes(model, 8, 60)
    assert fitting_tokens(model, 60, 480, int(needed / memory.MARGIN) + 1) == 480
    assert fitting_tokens(model, 60, 480, int(needed / memory.MARGIN) - 1) == 240
    assert fitting_tokens(model, 60, 480, 1) == 60  # one sequence
    assert fitting_tokens(built("mixtral", "eager"), 60, 480, 1) == 480


def test_an_extraction_on_a_gpu_begins_with_what_fits(monkeypatch):
    model = built("bert", "eager")
    needed = pass_bytes(model, 16384 // 60, 60)
    free = int(needed / 2) + 2 * 1000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))
    monkeypatch.setattr(placement, "input_device", lambda model: SimpleNamespace(type="cuda"))
    lines = []
    monkeypatch.setattr(parts, "log_progress", lines.append)
    writer = SimpleNamespace(largest_part=lambda: 1000)
    encodings = [SimpleNamespace(sequences=(60,)), SimpleNamespace(sequences=(7, 9))]
    assert parts.tokens_that_fit([writer], encodings, model) == 4096
    assert lines == ["4096 tokens per forward pass, so that 60 tokens of a text fit into memory"]
