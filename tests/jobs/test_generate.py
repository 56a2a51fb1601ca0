import itertools
import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis.metrics import class_scores
from jobs.data.encoding import Encoder, special_tokens
from jobs.data.examples import Example
from jobs.data.source import find_data
from jobs.generate import (
    AnswerConfig,
    GenerateConfig,
    answer,
    answer_job,
    answer_scores,
    generate,
    generate_job,
    read_prompts,
    template_for,
    text_statistics,
)
from jobs.job import KINDS, Kind
from jobs.models.source import find_model
from jobs.tasks import load_task
from store.errors import InputError
from store.results import read_rows

CAUSAL = ("gpt2", "biogpt")
PROMPTS = ["The gene was", "Patients with severe headache received the drug and", "It"]
LABELS = ("yes", "no", "may be so")
TEMPLATE = "text {second} so {first}"
EXAMPLES = [
    Example(
        "a", (("Does", "it", "help", "?"), tuple("the drug treats headache in most patients".split())), "yes"
    ),
    Example("b", (("Is", "it", "bound", "?"), ("no", "effect")), "no"),
    Example("c", (("Why", "?"), tuple("the protein was bound to the gene".split())), "yes"),
]


@pytest.fixture
def kinds(monkeypatch):
    monkeypatch.setitem(KINDS, "generate", Kind("jobs.generate:run_generate", 1, 1, 1))
    monkeypatch.setitem(KINDS, "answer", Kind("jobs.generate:run_answer", 1, 1, 1))


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


def test_a_masked_model_neither_continues_nor_answers(tiny_models):
    with pytest.raises(InputError, match="bert.* is no causal language model"):
        generate(tiny_models / "bert", PROMPTS, config())
    with pytest.raises(InputError, match="bert.* is no causal language model"):
        answer(tiny_models / "bert", EXAMPLES, LABELS, template=TEMPLATE)


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


# answers ----------------------------------------------------------------------------------------------


def direct(folder, example, labels, template=TEMPLATE):
    """log p(label | prompt) of every label by one unpadded forward pass each, and the labels' lengths."""
    model, tokenizer, before = stock(folder)
    encoder = Encoder(tokenizer, max_length=64)
    filled = template.format(first=" ".join(example.texts[0]), second=" ".join(example.texts[1]))
    prompt = [*before, *itertools.chain(*map(encoder.subwords, filled.split()))]
    sums, lengths = [], []
    for label in labels:
        ids = list(itertools.chain(*map(encoder.subwords, label.split())))
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + ids])).logits[0].double().log_softmax(-1)
        sums.append(sum(float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(ids)))
        lengths.append(len(ids))
    return np.array(sums), np.array(lengths)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_log_likelihoods_are_those_of_unpadded_passes(tiny_models, name, batch_size):
    folder = tiny_models / name
    found = answer(folder, EXAMPLES, LABELS, template=TEMPLATE, batch_size=batch_size)
    wanted, lengths = zip(*(direct(folder, example, LABELS) for example in EXAMPLES), strict=True)
    np.testing.assert_allclose(found.log_likelihood_el, wanted, atol=1e-4)
    prior, _ = direct(folder, Example("", ((), ()), ""), LABELS)
    np.testing.assert_allclose(found.prior_l, prior, atol=1e-4)
    assert found.tokens_l.tolist() == lengths[0].tolist()
    assert max(found.tokens_l) > 2
    assert found.truncated_words == 0


@pytest.mark.parametrize("name", CAUSAL)
def test_labels_of_one_token_need_no_second_pass(tiny_models, name):
    labels = ("a", ".", "b")
    found = answer(tiny_models / name, EXAMPLES, labels, template=TEMPLATE)
    if name == "biogpt":
        assert found.tokens_l.tolist() == [1, 1, 1]
    wanted = [direct(tiny_models / name, example, labels)[0] for example in EXAMPLES]
    np.testing.assert_allclose(found.log_likelihood_el, wanted, atol=1e-4)


@pytest.mark.parametrize("name", CAUSAL)
def test_each_score_picks_its_own_highest_label(tiny_models, name):
    for example in EXAMPLES:
        sums, lengths = direct(tiny_models / name, example, LABELS)
        prior, _ = direct(tiny_models / name, Example("", ((), ()), ""), LABELS)
        best = {"sum": sums, "mean": sums / lengths, "pmi": sums - prior}
        for score, values in best.items():
            found = answer(tiny_models / name, [example], LABELS, template=TEMPLATE, score=score)
            assert found.predicted == [LABELS[int(values.argmax())]]


@pytest.mark.parametrize("name", CAUSAL)
def test_a_long_context_loses_its_beginning_and_the_question_stays(tiny_models, name):
    context = tuple(f"w{i}" for i in range(60))
    question = EXAMPLES[0].texts[0]
    found = answer(tiny_models / name, [Example("l", (question, context), "yes")], LABELS, template=TEMPLATE)
    assert 0 < found.truncated_words < 60
    kept = Example("l", (question, context[found.truncated_words :]), "yes")
    again = answer(tiny_models / name, [kept], LABELS, template=TEMPLATE)
    assert again.truncated_words == 0
    np.testing.assert_array_equal(again.log_likelihood_el, found.log_likelihood_el)
    one_more = Example("l", (question, context[found.truncated_words - 1 :]), "yes")
    assert answer(tiny_models / name, [one_more], LABELS, template=TEMPLATE).truncated_words == 1


def test_scores_stand_beside_the_majority_class(tiny_models):
    found = answer(tiny_models / "gpt2", EXAMPLES, LABELS, template=TEMPLATE)
    rows = answer_scores(EXAMPLES, found, "dev")
    values = {row["metric"]: row["value"] for row in rows if "label" not in row}
    assert {row["split"] for row in rows} == {"dev"}
    assert values["majority_accuracy"] == pytest.approx(2 / 3)
    assert values["majority_macro_f1"] == pytest.approx((0.8 + 0) / 2)
    assert {k: values[k] for k in ("accuracy", "macro_f1")} == class_scores(
        ["yes", "no", "yes"], found.predicted
    )
    support = {row["label"]: row["value"] for row in rows if row["metric"] == "class_support"}
    assert support == {"yes": 2, "no": 1, "may be so": 0}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{first} only", "needs {second} exactly once"),
        ("{first} {second} {second}", "needs {second} exactly once"),
        ("{frist} {second}", "did you mean 'first'?"),
        ("{first", "template '{first'"),
        ("{first} {second} " + "word " * 70, "leave no room for a text in 64 positions"),
    ],
)
def test_a_template_that_does_not_fit(tiny_models, template, said):
    with pytest.raises(InputError) as error:
        answer(tiny_models / "gpt2", EXAMPLES, LABELS, template=template)
    assert said in str(error.value)


def test_a_task_without_written_labels_is_refused(small_tasks):
    with pytest.raises(InputError, match=r"'small-ner' \(ner\) cannot be answered by likelihood"):
        template_for(load_task(str(small_tasks["ner"])), AnswerConfig())
    assert "{second}" in template_for(load_task("pubmedqa"), AnswerConfig())


# jobs -------------------------------------------------------------------------------------------------


def test_the_generate_job_writes_samples_and_statistics(bench, tiny_models, kinds):
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


@pytest.mark.parametrize("score", ["sum", "mean", "pmi"])
def test_the_answer_job_writes_predictions_without_text_and_scores(
    bench, tiny_models, small_tasks, kinds, score
):
    task = load_task(str(small_tasks["nli"]))
    model = find_model(str(tiny_models / "gpt2"), bench.store)
    job = answer_job(task, find_data(task), model, AnswerConfig(score=score, limit=12))
    artifact = bench.run(job)
    rows = [json.loads(line) for line in (artifact.path / "predictions.jsonl").open()]
    assert len(rows) == 12
    assert {frozenset(row) for row in rows} == {frozenset({"id", "gold", "predicted", "log_likelihoods"})}
    outputs = artifact.manifest["outputs"]
    for row in rows:
        sums = row["log_likelihoods"]
        values = {
            "sum": sums,
            "mean": {label: value / outputs["label_tokens"][label] for label, value in sums.items()},
            "pmi": {
                label: value - outputs["label_log_likelihoods_without_text"][label]
                for label, value in sums.items()
            },
        }[score]
        assert row["predicted"] == max(values, key=values.get)
        assert all(math.isfinite(value) for value in sums.values())
    values = {row["metric"]: row["value"] for row in read_rows(artifact) if row["split"] == "test"}
    assert values["accuracy"] == np.mean([row["gold"] == row["predicted"] for row in rows])
    assert (job.labels["task"], job.labels["model"]) == ("small-nli", str(tiny_models / "gpt2"))


def test_a_checkpoint_of_the_store_is_needed_and_its_default_template_is_in_the_identity(
    bench, tiny_models, small_tasks, kinds
):
    checkpoint = bench.run(bench.finetune("nli", tiny_models / "gpt2", fraction=0))
    task = load_task(str(small_tasks["nli"]))
    model = find_model(checkpoint.id, bench.store)
    data = find_data(task)
    job = answer_job(task, data, model, AnswerConfig(limit=4), {"model": "mine", "fraction": 0})
    assert job.needs == (checkpoint.id,)
    assert job.labels == {"model": "mine", "fraction": 0, "task": "small-nli"}
    written = AnswerConfig(limit=4, template="Premise: {first} Hypothesis: {second} Relation:", batch_size=2)
    assert answer_job(task, data, model, written).id == job.id
    assert answer_job(task, data, model, AnswerConfig(limit=4, template="{first} {second}")).id != job.id
    assert read_rows(bench.run(job))
