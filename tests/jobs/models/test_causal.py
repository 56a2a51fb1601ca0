import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM

from microtome.jobs.models import causal
from microtome.store.errors import InputError, MicrotomeError

CAUSAL = ("gpt2", "biogpt")
PROMPTS = [[5, 9, 30], [7, 8, 9, 10, 11, 12, 13], [20]]
GREEDY = {"temperature": 0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}


@pytest.fixture(params=CAUSAL)
def model(request, tiny_models):
    return causal.load(tiny_models / request.param)


@torch.no_grad()
def log_probabilities(model, ids):
    """Of every next token, from a pass over one unpadded sequence: float64 [tokens, vocabulary]."""
    return model.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)


def greedy(model, ids, steps):
    new = []
    for _ in range(steps):
        new.append(int(log_probabilities(model, ids + new)[-1].argmax()))
    return new


def test_continuations_of_a_padded_batch_are_those_of_unpadded_passes(model):
    found = causal.continued(model, PROMPTS, np.zeros((3, 6)), **GREEDY)
    assert found == [greedy(model, ids, 6) for ids in PROMPTS]


def test_a_draw_inverts_the_distribution_of_its_own_row(model):
    options = GREEDY | {"temperature": 2.0}
    draws = np.random.default_rng(0).random((3, 1))
    found = causal.continued(model, PROMPTS, draws, **options)
    for ids, draw, new in zip(PROMPTS, draws[:, 0], found, strict=True):
        cumulative = (log_probabilities(model, ids)[-1] / 2).softmax(-1).cumsum(-1).numpy()
        token = int(np.searchsorted(cumulative, draw, side="right"))
        assert new == ([] if token == model.tokenizer.eos_token_id else [token])
    assert causal.continued(model, PROMPTS[1:2], draws[1:2], **options) == found[1:2]


def test_a_strong_penalty_lets_nothing_of_the_prompt_come_again(model):
    ids = [*PROMPTS[1], *greedy(model, PROMPTS[1], 3)]
    draws = np.zeros((1, 4))
    [free] = causal.continued(model, [ids], draws, **GREEDY)
    [penalised] = causal.continued(model, [ids], draws, **GREEDY | {"repetition_penalty": 1e6})
    assert set(free) & set(ids)
    assert not set(penalised) & set(ids)
    assert len(set(penalised)) == len(penalised)


@pytest.mark.parametrize("choices", [[[4], [17], [8]], [[4], [17, 3, 30], [8, 8]]])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_log_likelihoods_are_those_of_unpadded_passes(model, choices, batch_size):
    found = causal.log_likelihoods(model, PROMPTS, choices, batch_size)
    for ids, row in zip(PROMPTS, found, strict=True):
        for choice, value in zip(choices, row, strict=True):
            each = log_probabilities(model, ids + choice)[len(ids) - 1 : -1]
            wanted = sum(float(each[place, token]) for place, token in enumerate(choice))
            assert value == pytest.approx(wanted, abs=1e-4)


def test_batches_are_longest_first_and_hold_everything_once():
    assert list(causal.longest_first([3, 9, 1, 9, 4], 2)) == [[1, 3], [4, 0], [2]]


def test_what_cannot_write_is_refused(tiny_models, tmp_path):
    with pytest.raises(InputError, match=r"small \(bert\) is no causal language model"):
        causal.load(tiny_models / "bert", "small")
    headless = AutoModelForCausalLM.from_pretrained(tiny_models / "biogpt").config
    headless.tie_word_embeddings = False
    AutoModel.from_config(headless).save_pretrained(tmp_path)
    for file in (tiny_models / "biogpt").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="has no language-modelling head"):
        causal.load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_no_answer(model, value):
    model.model.get_output_embeddings().weight.data[17] = value
    with pytest.raises(MicrotomeError, match="the model's scores of new token 1 are not finite"):
        causal.continued(model, PROMPTS, np.zeros((3, 2)), **GREEDY)
    with pytest.raises(
        MicrotomeError, match="log-likelihoods after prompt 2 and those like it are not finite"
    ):
        causal.log_likelihoods(model, PROMPTS, [[4], [17]], 2)


def test_a_temperature_that_leaves_no_numbers_is_refused(model):
    with pytest.raises(MicrotomeError, match="at this temperature the scores are beyond"):
        causal.continued(model, PROMPTS, np.zeros((3, 2)), **GREEDY | {"temperature": 1e-44})
