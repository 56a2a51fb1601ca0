import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)

from microtome.jobs.models import epoch_trainer, language, training
from microtome.jobs.models.losses import loss_of_classes, loss_of_sets
from microtome.jobs.training_settings import TrainingSettings
from microtome.store.errors import MicrotomeError

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT = {**SIZES, "intermediate_size": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2 = {**SIZES, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "pad_token_id": 0}
SETTINGS = TrainingSettings(learning_rate=1e-2, epochs=2, batch_size=10, warmup=0.25, weight_decay=0.01)
PLAN = training.Schedule(settings=SETTINGS, metric="loss", keep_last=True, seed=1)


def with_settings(**changes):
    """The schedule of these tests with other settings."""
    return dataclasses.replace(PLAN, settings=SETTINGS.model_copy(update=changes))


class Tokens:
    """As much of a tokenizer as masking asks for."""

    pad_token_id, mask_token_id, all_special_ids = 0, 1, (0, 1)

    def __len__(self):
        return 50


def features(target, count=47):
    """Examples of very different lengths, no two alike."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(count):
        ids = rng.integers(2, 50, rng.integers(4, 24)).tolist()
        row = {"input_ids": ids, "segment_ids": [0] * len(ids), "block": number}
        found.append(row | {"labels": target(number, ids, rng)})
    return found


def tags(number, ids, rng):
    """A target on some tokens only; on none of every fifth example."""
    return [training.IGNORED if rng.random() < 0.6 or not number % 5 else token % 3 for token in ids]


def classifier(config, of=BertForSequenceClassification, **options):
    return lambda: of(config(**(BERT if config is BertConfig else GPT2), **options))


PADS = training.Collator(0, False)
CASES = {
    "tags": (classifier(BertConfig, BertForTokenClassification, num_labels=3), tags, PADS, None),
    "classes": (classifier(BertConfig, num_labels=3), lambda n, ids, r: n % 3, PADS, None),
    "classes of a causal model": (
        classifier(GPT2Config, GPT2ForSequenceClassification, num_labels=3),
        lambda n, ids, r: n % 3,
        PADS,
        None,
    ),
    "numbers": (
        classifier(BertConfig, num_labels=1, problem_type="regression"),
        lambda n, ids, r: -100.0 if n == 5 else n / 47,  # a number like any other
        PADS,
        None,
    ),
    "sets": (
        classifier(BertConfig, num_labels=3, problem_type="multi_label_classification"),
        lambda n, ids, r: tuple(float(x) for x in r.random(3) < 0.2),
        PADS,
        loss_of_sets(5.0),
    ),
    "relations": (
        classifier(BertConfig, num_labels=3),
        lambda n, ids, r: min(n % 7, 2),
        PADS,
        loss_of_classes([1, 4, 4]),
    ),
    "masked tokens": (
        classifier(BertConfig, BertForMaskedLM),
        lambda n, ids, r: 0,
        language.MaskingCollator(Tokens(), 0.15, 1),
        None,
    ),
    "next tokens": (
        classifier(GPT2Config, GPT2LMHeadModel),
        lambda n, ids, r: 0,
        language.CausalCollator(0),
        None,
    ),
}


def trained(case, plan, folder, monkeypatch, memory=math.inf):
    """The weights after training on a device that holds `memory` examples, and what every step was made of:
    (step, ids of an example, learning rate), and the sizes of the pieces."""
    make, target, collator, loss = CASES[case]
    torch.manual_seed(0)
    model = make().double()  # so that what differs is not rounding
    real, seen, sizes = epoch_trainer.Trainer.training_step, [], []

    def step(self, model, inputs, *args, **kwargs):
        size = len(inputs["input_ids"])
        if size > memory:
            sizes.clear()
            seen.clear()
            raise torch.OutOfMemoryError("pretended")
        sizes.append(size)
        rate = self.optimizer.param_groups[0]["lr"]
        for ids, mask in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].sum(1), strict=True):
            seen.append((self.state.global_step, tuple(ids[:mask]), rate))
        return real(self, model, inputs, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(epoch_trainer.Trainer, "training_step", step)
        training.train(
            model, features(target), collator, lambda: {"loss": 1.0}, plan, folder, lambda text: None, loss
        )
    return model.state_dict(), seen, sizes


MORE_SIZES = [pytest.param(20, 9, marks=pytest.mark.thorough), pytest.param(7, 1, marks=pytest.mark.thorough)]


@pytest.mark.parametrize(("batch_size", "memory"), [(10, 4), *MORE_SIZES])
@pytest.mark.parametrize("case", CASES)
def test_out_of_memory_changes_no_step(case, batch_size, memory, tmp_path, monkeypatch):
    plan = with_settings(batch_size=batch_size)
    wanted, whole, sizes = trained(case, plan, tmp_path / "whole", monkeypatch)
    steps = 2 * math.ceil(47 / batch_size)
    assert len(sizes) == steps
    found, cut, pieces = trained(case, plan, tmp_path / "cut", monkeypatch, memory)
    assert len(pieces) > len(sizes)
    assert max(pieces) <= memory
    assert {step for step, _, _ in whole} == set(range(steps))
    if case == "tags":  # pieces without any target are passed over
        assert set(cut) <= set(whole)
    else:
        assert cut == whole
    assert {(step, rate) for step, _, rate in cut} == {(step, rate) for step, _, rate in whole}
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-7, msg=name)


@pytest.mark.parametrize(
    ("warmup", "rising"),
    [
        ({"warmup": 0.0}, 0),
        ({"warmup": 0.5}, 5),
        ({"warmup": 0.11}, 2),  # of 10 steps: begun steps count
        ({"warmup": 1.0}, 10),
        ({"warmup": 0.0, "warmup_steps": 0}, 0),
        ({"warmup": 0.0, "warmup_steps": 1}, 1),
        ({"warmup": 0.0, "warmup_steps": 4}, 4),
        ({"warmup": 0.0, "warmup_steps": 20}, 20),
    ],
)
def test_the_learning_rate_of_every_step(warmup, rising, tmp_path, monkeypatch):
    plan = with_settings(**warmup)
    _, seen, _ = trained("classes", plan, tmp_path, monkeypatch)
    rates = {step: rate for step, _, rate in seen}
    expected = [
        SETTINGS.learning_rate * (step / rising if step < rising else (10 - step) / (10 - rising))
        for step in range(10)
    ]
    assert [rates[step] for step in range(10)] == pytest.approx(expected)


def diverges(plan, folder, *, collator=PADS, weights=None, score=1.0):
    """The error of a training that leaves the numbers behind."""
    torch.manual_seed(0)
    model = classifier(BertConfig, num_labels=3)()
    if weights is not None:
        with torch.no_grad():
            model.classifier.weight[0, 0] = weights
    rows = features(lambda n, ids, r: n % 3)
    with pytest.raises(MicrotomeError) as caught:
        training.train(model, rows, collator, lambda: {"loss": score}, plan, folder, lambda text: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_loss_that_is_not_finite_ends_training_with_its_step(tmp_path):
    plan = with_settings(learning_rate=1e30, warmup=0.0)
    said = diverges(plan, tmp_path)
    assert re.fullmatch(
        r"training diverged: the loss of step 2 is (nan|inf); lower the learning rate.*", said
    )


def test_a_gradient_that_is_not_finite_ends_training_with_its_step(tmp_path, monkeypatch):
    real = epoch_trainer.Trainer._clip_grad_norm

    def overflowing(self, model):
        if self.state.global_step == 3:
            next(model.parameters()).grad[0, 0] = math.inf
        return real(self, model)

    monkeypatch.setattr(epoch_trainer.Trainer, "_clip_grad_norm", overflowing)
    assert diverges(PLAN, tmp_path).startswith("training diverged: the gradient norm of step 4 is")


def test_weights_that_are_not_finite_are_refused_before_and_after(tmp_path):
    assert "1 of 41 tensors are not finite before training, the first of them classifier.weight (nan)" in (
        diverges(PLAN, tmp_path / "before", weights=math.nan)
    )
    one_step = with_settings(epochs=1, batch_size=47, learning_rate=1e300, warmup=0.0)
    assert "tensors are not finite after step 1" in diverges(one_step, tmp_path / "after")


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_ends_training(tmp_path, score):
    assert diverges(PLAN, tmp_path, score=score) == (
        f"the loss after step 5 is {score}, which is no score; nothing is kept"
    )


@pytest.mark.parametrize("name", ["tags", "classes of a causal model"])
def test_gradient_checkpointing_computes_blocks_again_and_gives_the_same_weights(tmp_path, name):
    make, target, collate, loss = CASES[name]
    passes, weights = {}, {}
    for on in (False, True):
        torch.manual_seed(0)
        model = make()
        inner = (
            model.bert.encoder.layer[1].attention if hasattr(model, "bert") else model.transformer.h[1].attn
        )
        calls = []
        inner.register_forward_pre_hook(lambda *passed, calls=calls: calls.append(torch.is_grad_enabled()))
        plan = with_settings(gradient_checkpointing=on)
        rows = features(target)
        training.train(model, rows, collate, lambda: {"loss": 1.0}, plan, tmp_path / str(on), print, loss)
        passes[on], weights[on] = len(calls), model.state_dict()
    steps = 2 * math.ceil(47 / 10)
    assert (passes[False], passes[True]) == (steps, 2 * steps)
    for key, value in weights[False].items():
        torch.testing.assert_close(weights[True][key], value)
