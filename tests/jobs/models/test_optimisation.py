import dataclasses
import math

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, TrainerCallback

from microtome.jobs.models import training
from microtome.jobs.models.optimisation import Schedule
from microtome.jobs.models.precision import compute_dtype
from microtome.jobs.training_settings import TrainingSettings
from microtome.store.errors import InputError

SIZES = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
EXAMPLES = 8
SETTINGS = TrainingSettings(learning_rate=1e-2, epochs=4, batch_size=4)


def train(folder, monkeypatch, by_length=True, **changes):
    """Learning rate, steps of the optimiser so far and its class, at every step; and the weights."""
    schedule = Schedule(
        settings=SETTINGS.model_copy(update=changes),
        metric="loss",
        keep_last=True,
        seed=1,
        by_length=by_length,
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SIZES, intermediate_size=8, hidden_dropout_prob=0.0))
    rows = [{"input_ids": [2 + n, 3, 4], "segment_ids": [0] * 3, "labels": n % 2} for n in range(EXAMPLES)]
    seen = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
            counts = [int(values["step"]) for values in optimizer.state.values()]
            seen.append((optimizer.param_groups[0]["lr"], max(counts, default=0), type(optimizer.optimizer)))

    real = training.restarts
    monkeypatch.setattr(training, "restarts", lambda *a: [*real(*a), Watch()])
    training.train(
        model, rows, training.Collator(0, False), lambda: {"loss": 1.0}, schedule, folder, lambda t: None
    )
    return seen, model.state_dict()


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        ({}, [1 - step / 8 for step in range(8)]),
        ({"schedule": "constant"}, [1] * 8),
        ({"schedule": "constant", "warmup_steps": 2}, [0, 0.5, *[1] * 6]),
        ({"schedule": "cosine"}, [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),
        ({"cycles": 2}, [1, 0.75, 0.5, 0.25] * 2),
        (
            {"cycles": 2, "schedule": "cosine"},
            [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)] * 2,
        ),
        ({"cycles": 2, "warmup": 0.5}, [0, 0.5, 1, 0.5] * 2),
    ],
)
def test_the_learning_rate_goes_as_the_schedule_says(changes, rates, tmp_path, monkeypatch):
    seen, _ = train(tmp_path, monkeypatch, **changes)
    assert [rate for rate, *_ in seen] == pytest.approx([rate * SETTINGS.learning_rate for rate in rates])


def test_the_optimiser_begins_anew_with_every_cycle(tmp_path, monkeypatch):
    seen, _ = train(tmp_path / "two", monkeypatch, cycles=2)
    assert [count for _, count, _ in seen] == [0, 1, 2, 3] * 2
    seen, _ = train(tmp_path / "one", monkeypatch)
    assert [count for _, count, _ in seen] == list(range(8))


def test_adam_adds_weight_decay_to_the_gradient(tmp_path, monkeypatch):
    decay = {"weight_decay": 0.1}
    seen, adam = train(tmp_path / "adam", monkeypatch, optimizer="adam", **decay)
    assert {kind for *_, kind in seen} == {torch.optim.Adam}
    seen, adamw = train(tmp_path / "adamw", monkeypatch, **decay)
    assert {kind for *_, kind in seen} == {torch.optim.AdamW}
    _, plain = train(tmp_path / "plain", monkeypatch, optimizer="adam")
    _, plain_w = train(tmp_path / "plain_w", monkeypatch)
    name = "classifier.weight"
    assert not torch.allclose(adam[name], adamw[name], atol=1e-5)
    assert torch.allclose(plain[name], plain_w[name], atol=1e-5)


def test_float16_on_a_cpu_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="precision: float16 needs a GPU; set precision: auto"):
        train(tmp_path, monkeypatch, precision="float16")


def test_bfloat16_trains_on_a_cpu_too_and_gives_other_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _, half = train(tmp_path / "half", monkeypatch, precision="bfloat16")
    _, whole = train(tmp_path / "whole", monkeypatch, precision="float32")
    _, auto = train(tmp_path / "auto", monkeypatch)
    name = "classifier.weight"
    assert torch.equal(whole[name], auto[name])
    assert not torch.equal(whole[name], half[name])
    assert torch.allclose(whole[name], half[name], atol=0.05)


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_is_what_the_device_computes_in(bf16, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    assert compute_dtype("auto", torch.device("cuda")) is dtype
    assert compute_dtype("auto", torch.device("cpu")) is torch.float32
    assert compute_dtype("float32", torch.device("cuda")) is torch.float32


def test_more_cycles_than_steps_end_with_one_step_each():
    settings = SETTINGS.model_copy(update={"cycles": 50})
    schedule = Schedule(settings=settings, metric="loss", keep_last=True, seed=1)
    assert schedule.steps_per_cycle(EXAMPLES) == 1
    assert dataclasses.replace(schedule, settings=SETTINGS).steps_per_cycle(EXAMPLES) == 8
