import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from microtome.jobs.data.encoding import special_tokens
from microtome.jobs.kinds.generate import (
    GenerateConfig,
    generate,
    generate_job,
    read_prompts,
    text_statistics,
)
from microtome.jobs.models.source import find_model
from microtome.store.errors import InputError
from microtome.store.results import read_rows

CAUSAL = ("gpt2", "biogpt")
PROMPTS = ["The gene was", "Patients with severe headache received the drug and", "It"]


def config(**options):
    return GenerateConfig.parse({"max_new_tokens": 8, **options}, where="test")


def stock(folder):
    """The model and tokenizer as transformers loads them, and what goes before a text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer, special_tokens(tokenizer)[0]


@torch.no_grad()
def next_logits(model, ids):
    return model(torch.tensor([ids])).logits[0, -1].double()


def greedy(model, ids, steps, penalty=1.0):
    """The likeliest next tokens, each from a pass over the whole unpadded sequence."""
    new = []
    for _ in range(steps):
        logits = next_logits(model, ids + new)
        said = list({*ids, *new})
        logits[said] = torch.where(logits[said] > 0, logits[said] / penalty, logits[said] * penalty)
        new.append(int(logits.argmax()))
    return new


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("penalty", [1.0, 1.7])
def test_greedy_text_is_that_of_an_unpadded_loop_over_the_whole_sequence(tiny_models, name, penalty):
    model, tokenizer, before = stock(tiny_models / name)
    rows = generate(tiny_models / name, PROMPTS, config(temperature=0, repetition_penalty=penalty))
    for number, (prompt, row) in enumerate(zip(PROMPTS, rows, strict=True)):
        ids = [*before, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
        new = greedy(model, ids, 8, penalty)
        assert tokenizer.eos_token_id not in new
        assert row == {"prompt": PROMPTS[number], "sample": 0, "text": tokenizer.decode(new), "tokens": 8}


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("options", [{"temperature": 0}, {"samples": 2, "repetition_penalty": 1.3}])
def test_a_batch_gives_what_one_by_one_gives(tiny_models, name, options):
    together = generate(tiny_models / name, PROMPTS, config(batch_size=6, **options))
    alone = generate(tiny_models / name, PROMPTS, config(batch_size=1, **options))
    assert together == alone
    assert [row["prompt"] for row in together] == [
        p for p in PROMPTS for _ in range(options.get("samples", 1))
    ]


@pytest.mark.parametrize("name", CAUSAL)
def test_seeds_repeat_and_differ_and_torch_is_left_alone(tiny_models, name):
    torch.manual_seed(1)
    first = generate(tiny_models / name, PROMPTS, config(samples=2))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert generate(tiny_models / name, PROMPTS, config(samples=2)) == first
    assert generate(tiny_models / name, PROMPTS[:1], config(samples=2)) == first[:2]
    assert first[0]["text"] != first[1]["text"]
    assert generate(tiny_models / name, PROMPTS, config(samples=2, seed=2)) != first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_follow_the_model_within_top_k_and_top_p(tiny_models):
    folder = tiny_models / "biogpt"
    model, tokenizer, before = stock(folder)
    ids = [*before, *tokenizer(PROMPTS[0], add_special_tokens=False)["input_ids"]]
    wanted = (next_logits(model, ids) / 2).softmax(-1).numpy()
    order = np.argsort(-wanted)
    options = {"max_new_tokens": 1, "samples": 1000, "temperature": 2.0, "batch_size": 500}

    def share_by_text(tokens):
        shares = {}
        for token in tokens:
            text = tokenizer.decode([token], skip_special_tokens=True)
            shares[text] = shares.get(text, 0) + wanted[token] / wanted[tokens].sum()
        return shares

    drawn = [row["text"] for row in generate(folder, PROMPTS[:1], config(**options, top_k=5, top_p=1.0))]
    assert {text: drawn.count(text) / 1000 for text in drawn} == pytest.approx(
        share_by_text(order[:5]), abs=0.06
    )

    nucleus = 1 + int(np.searchsorted(np.cumsum(wanted[order]), 0.1))
    drawn = {row["text"] for row in generate(folder, PROMPTS[:1], config(**options, top_k=0, top_p=0.1))}
    assert drawn == set(share_by_text(order[:nucleus]))


@pytest.mark.parametrize("name", CAUSAL)
def test_a_long_prompt_loses_its_beginning_and_says_so(tiny_models, name):
    _, tokenizer, before = stock(tiny_models / name)
    long = " ".join(f"gene{i} was bound" for i in range(30))
    [row] = generate(tiny_models / name, [long], config(temperature=0))
    ids = tokenizer(long, add_special_tokens=False)["input_ids"]
    room = 64 - 8 - len(before)
    assert row["cut_tokens"] == len(ids) - room > 0
    assert row["prompt"] == long
    [short] = generate(tiny_models / name, [tokenizer.decode(ids[-room:])], config(temperature=0))
    assert (short["text"], short.get("cut_tokens")) == (row["text"], None)


@pytest.mark.parametrize("name", CAUSAL)
def test_an_empty_prompt_starts_a_text(tiny_models, name):
    model, tokenizer, _ = stock(tiny_models / name)
    [row] = generate(tiny_models / name, [""], config(temperature=0, max_new_tokens=1))
    assert row["text"] == tokenizer.decode([int(next_logits(model, [tokenizer.eos_token_id]).argmax())])


def test_text_ends_where_the_model_ends_it(tiny_models, tmp_path):
    model, tokenizer, _ = stock(tiny_models / "gpt2")
    new = greedy(model, tokenizer(PROMPTS[0])["input_ids"], 8)
    end = new.index(new[-1])
    model.generation_config.eos_token_id = [new[-1]]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    [row] = generate(tmp_path, PROMPTS[:1], config(temperature=0))
    assert (row["text"], row["tokens"]) == (tokenizer.decode(new[:end]), end)
    assert end < 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_new_tokens": 64}, "max_new_tokens 64 leaves no room for a prompt in the 64 positions"),
        ({"temperature": 0, "samples": 2}, "at temperature 0 all samples are the same"),
    ],
)
def test_what_cannot_be_continued(tiny_models, options, said):
    with pytest.raises(InputError, match=said):
        generate(tiny_models / "gpt2", PROMPTS, config(**options))


def test_a_masked_model_does_not_continue(tiny_models):
    with pytest.raises(InputError, match="bert.* is no causal language model"):
        generate(tiny_models / "bert", PROMPTS, config())


def test_statistics_by_hand():
    rows = [{"text": "a b c d a b c d", "tokens": 9}, {"text": "a b", "tokens": 3}]
    found = {row["metric"]: (row["value"], row["n"]) for row in text_statistics(rows)}
    assert found["generated_tokens"] == (6, 2)
    assert found["distinct_2"] == (4 / 8, 8)  # ab bc cd da ab bc cd, and ab
    assert found["repeated_4grams"] == (pytest.approx(1 / 5), 1)  # abcd twice among five
    assert [row["metric"] for row in text_statistics([{"text": "a", "tokens": 1}])] == ["generated_tokens"]


def test_prompts_from_lines_and_json_lines(tmp_path):
    (tmp_path / "in.txt").write_bytes(b" one\r\n\n two words\n")
    (tmp_path / "in.jsonl").write_text('{"prompt": "one\\ntwo"}\n\n{"prompt": "", "id": 3}\n')
    assert read_prompts(tmp_path / "in.txt") == [" one", " two words"]
    assert read_prompts(tmp_path / "in.jsonl") == ["one\ntwo", ""]


def test_the_generate_job_writes_samples_and_statistics(bench, tiny_models):
    model = find_model(str(tiny_models / "gpt2"), bench.store)
    long = {"samples": 2, "max_new_tokens": 30}
    job = generate_job(model, config(**long, batch_size=3), PROMPTS)
    artifact = bench.run(job)
    rows = [json.loads(line) for line in (artifact.path / "samples.jsonl").open()]
    assert rows == generate(tiny_models / "gpt2", PROMPTS, config(**long))
    found = read_rows(artifact)
    assert {row["metric"] for row in found} == {"generated_tokens", "distinct_2", "repeated_4grams"}
    assert job.labels == {"model": str(tiny_models / "gpt2"), "seed": 1}
    assert generate_job(model, config(**long, batch_size=1), PROMPTS).id == job.id
    assert generate_job(model, config(**long), PROMPTS[:2]).id != job.id
