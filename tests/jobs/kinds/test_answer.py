import itertools
import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.scoring import scores
from microtome.jobs.data.encoding import Encoder, special_tokens
from microtome.jobs.data.examples import Example
from microtome.jobs.kinds.answer import AnswerConfig, answer_job, template_for
from microtome.jobs.models.answering import answer, answer_scores, choose_shots
from microtome.jobs.models.source import find_model
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.errors import InputError
from microtome.store.results import read_rows

CAUSAL = ("gpt2", "biogpt")
LABELS = ("yes", "no", "may be so")
TEMPLATE = "text {second} so {first}"
EXAMPLES = [
    Example(
        "a", (("Does", "it", "help", "?"), tuple("the drug treats headache in most patients".split())), "yes"
    ),
    Example("b", (("Is", "it", "bound", "?"), ("no", "effect")), "no"),
    Example("c", (("Why", "?"), tuple("the protein was bound to the gene".split())), "yes"),
]


def stock(folder):
    """The model and tokenizer as transformers loads them, and what goes before a text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer, special_tokens(tokenizer)[0]


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
    np.testing.assert_allclose(found.log_likelihood_eqc[:, 0], wanted, atol=1e-4)
    prior, _ = direct(folder, Example("", ((), ()), ""), LABELS)
    np.testing.assert_allclose(found.prior_qc[0], prior, atol=1e-4)
    assert found.tokens_c.tolist() == lengths[0].tolist()
    assert max(found.tokens_c) > 2
    assert found.truncated_words == 0


@pytest.mark.parametrize("name", CAUSAL)
def test_labels_of_one_token_need_no_second_pass(tiny_models, name):
    labels = ("a", ".", "b")
    found = answer(tiny_models / name, EXAMPLES, labels, template=TEMPLATE)
    if name == "biogpt":
        assert found.tokens_c.tolist() == [1, 1, 1]
    wanted = [direct(tiny_models / name, example, labels)[0] for example in EXAMPLES]
    np.testing.assert_allclose(found.log_likelihood_eqc[:, 0], wanted, atol=1e-4)


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
    np.testing.assert_array_equal(again.log_likelihood_eqc, found.log_likelihood_eqc)
    one_more = Example("l", (question, context[found.truncated_words - 1 :]), "yes")
    assert answer(tiny_models / name, [one_more], LABELS, template=TEMPLATE).truncated_words == 1


def test_scores_stand_beside_the_majority_class(tiny_models):
    found = answer(tiny_models / "gpt2", EXAMPLES, LABELS, template=TEMPLATE)
    rows = answer_scores(TASK_TYPES["question-answering"], EXAMPLES, found, "dev")
    values = {row["metric"]: row["value"] for row in rows if "label" not in row}
    assert {row["split"] for row in rows} == {"dev"}
    assert values["majority_accuracy"] == pytest.approx(2 / 3)
    assert values["majority_macro_f1"] == pytest.approx((0.8 + 0) / 2)
    labels = class_labels(["yes", "no", "yes"], found.predicted, LABELS)
    assert {k: values[k] for k in ("accuracy", "macro_f1")} == scores(("accuracy", "macro_f1"), labels)
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


def test_a_masked_model_does_not_answer(tiny_models):
    with pytest.raises(InputError, match="bert.* is no causal language model"):
        answer(tiny_models / "bert", EXAMPLES, LABELS, template=TEMPLATE)


@pytest.mark.parametrize("score", ["sum", "mean", "pmi"])
def test_the_answer_job_writes_predictions_without_text_and_scores(bench, tiny_models, small_tasks, score):
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
    bench, tiny_models, small_tasks
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


HALLMARKS = ("pain", "fever", "side effects")
SEVERAL = [
    Example("a", (tuple("the drug treats headache in most patients".split()),), ("pain", "fever")),
    Example("b", (("no", "effect"),), ()),
    Example("c", (tuple("the protein was bound".split()),), ("side effects",)),
]


@pytest.mark.parametrize("score", ["sum", "pmi"])
def test_of_several_labels_each_is_asked_about(tiny_models, score):
    template = "{first} about {label} so"
    found = answer(tiny_models / "gpt2", SEVERAL, HALLMARKS, template=template, score=score)
    for row, example in enumerate(SEVERAL):
        given = []
        for column, label in enumerate(HALLMARKS):
            about = template.replace("{label}", label) + "{second}"
            asked = [Example("", (texts, ()), "") for texts in (example.texts[0], ())]
            sums, prior = (direct(tiny_models / "gpt2", e, ("yes", "no"), about)[0] for e in asked)
            np.testing.assert_allclose(found.log_likelihood_eqc[row, column], sums, atol=1e-4)
            yes, no = sums - (prior if score == "pmi" else 0)
            given += [label] if yes > no else []
        assert found.predicted[row] == tuple(given)
    kind = TASK_TYPES["multi-label"]
    rows = {row["metric"]: row["value"] for row in answer_scores(kind, SEVERAL, found, "test")}
    assert rows["micro_f1"] == kind.score(SEVERAL, found.predicted, HALLMARKS)["micro_f1"]
    assert rows["majority_exact_match"] == pytest.approx(1 / 3)


def test_shots_are_of_each_class_in_turn_and_others_with_another_seed():
    strata = ["common"] * 30 + ["rare", "rarer"]
    shots = [choose_shots(range(32), strata, 5, seed) for seed in range(4)]
    for chosen in shots:
        assert {strata[index] for index in chosen[:3]} == set(strata)
        assert len(set(chosen)) == 5
    assert len(set(map(tuple, shots))) == 4
    with pytest.raises(ValueError, match="shots_seed has no effect without shots"):
        AnswerConfig(shots_seed=1)
    with pytest.raises(InputError, match="33 shots are more than the 32 examples of the train split"):
        choose_shots(range(32), strata, 33, 0)


def test_the_shots_of_a_job_are_of_its_train_split(bench, tiny_models, small_tasks):
    task = load_task(str(small_tasks["nli"]))
    model, data = find_model(str(tiny_models / "gpt2"), bench.store), find_data(task)
    jobs = [
        answer_job(
            task,
            data,
            model,
            AnswerConfig(limit=3, template="{first} {second}", shots=shots, shots_seed=seed),
        )
        for shots, seed in ((0, 0), (1, 0), (1, 1))
    ]
    assert len({job.id for job in jobs}) == 3
    assert jobs[1].inputs["shots"] == data.digest("train")
    told = [
        [json.loads(line)["log_likelihoods"] for line in (bench.run(job).path / "predictions.jsonl").open()]
        for job in jobs
    ]
    assert len({json.dumps(values) for values in told}) == 3
