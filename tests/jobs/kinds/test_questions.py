import json

import pytest

from microtome.analysis.metrics.rouge import rouge
from microtome.jobs.data.corpora import find_corpus
from microtome.jobs.kinds.generate import GenerateConfig, GenerateStep, generate, questions_job
from microtome.jobs.kinds.questions import Questions, QuestionSource
from microtome.jobs.models.source import find_model
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError
from microtome.store.results import read_rows

OPTIONS = {"max_new_tokens": 8, "temperature": 0}


@pytest.fixture
def folder(tmp_path):
    """Ten questions with answers, as MedQuAD has them."""
    pairs = "".join(
        f"<QAPair><Question>What is gene{n}?</Question><Answer>Gene{n} was\nbound.</Answer></QAPair>"
        for n in range(10)
    )
    path = tmp_path / "corpus"
    path.mkdir()
    (path / "1.xml").write_text(f"<Document><QAPairs>{pairs}</QAPairs></Document>")
    return path


def source(folder, **settings):
    corpus = {"format": "xml-qa", "path": str(folder)}
    questions = Questions.parse({"corpus": corpus, **settings}, where="the test")
    return QuestionSource(questions, find_corpus(questions.corpus))


def test_questions_are_drawn_and_keep_the_answers_of_people(folder):
    drawn = source(folder, count=3).read()
    assert len(drawn) == 3
    everything = source(folder).read()
    assert everything[0].prompt == "Question: What is gene0?\nAnswer:"
    assert everything[0].reference == "Gene0 was\nbound."
    assert [question for question in everything if question in drawn] == drawn
    assert source(folder, template="{question}").read()[0].prompt == "What is gene0?"


@pytest.mark.parametrize("settings", [{"count": 3}, {"count": 3, "seed": 1}, {"template": "{question}"}])
def test_what_is_asked_decides_the_identity(folder, settings):
    assert source(folder, **settings).identity != source(folder).identity
    assert source(folder, **settings).identity == source(folder, **settings).identity


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corpus": {"format": "text", "path": "x"}}, "format: text has no questions"),
        ({"template": "nothing"}, "question.* stands in it once"),
    ],
)
def test_what_cannot_be_asked_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Questions.parse({"corpus": {"format": "xml-qa", "path": "x"}} | settings, where="the test")


def test_a_step_has_prompts_or_questions():
    questions = {"corpus": {"format": "xml-qa", "path": "x"}}
    for both in ({}, {"prompts": ["a"], "questions": questions}):
        with pytest.raises(InputError, match="give either prompts or questions"):
            GenerateStep.parse(both, where="the test")


def test_answers_are_compared_with_those_of_people(bench, tiny_models, folder):
    model = find_model(str(tiny_models / "gpt2"), bench.store)
    config = GenerateConfig.parse(OPTIONS, where="the test")
    asked = source(folder, count=4)
    artifact = bench.run(questions_job(model, config, asked))
    samples = [json.loads(line) for line in (artifact.path / "samples.jsonl").open()]
    questions = asked.read()
    texts = generate(tiny_models / "gpt2", [question.prompt for question in questions], config)
    references = [question.reference for question in questions]
    assert samples == [row | {"reference": text} for row, text in zip(texts, references, strict=True)]
    values = {row["metric"]: row["value"] for row in read_rows(artifact)}
    expected = rouge([row["text"] for row in texts], references)
    assert {name: values[name] for name in expected} == pytest.approx(expected)


SUITE = """
name: asking
description: two models asked
models: [gpt2]
tasks: [{task}]
fractions: [0]
generate:
  - questions: {{corpus: {{format: xml-qa, path: "{folder}"}}, count: 2}}
    options: {{max_new_tokens: 8}}
"""


def test_a_suite_asks_and_says_what_is_missing(tmp_path, small_tasks, tiny_models, folder, monkeypatch):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    path, store = tmp_path / "asking.yaml", Store(tmp_path / "store")
    path.write_text(SUITE.format(task=small_tasks["ner"], folder=folder))
    plan = make_plan(load_suite(str(path)), store)
    [job] = [job for job in plan.jobs if job.kind == "generate"]
    assert plan.missing == ()
    store.root.mkdir()
    store.remember(plan.identities)
    (folder / "1.xml").unlink()
    folder.rmdir()
    later = make_plan(load_suite(str(path)), store)
    [same] = [job for job in later.jobs if job.kind == "generate"]
    assert same.id == job.id
    assert [absence.what for absence in later.missing] == ["corpus"]
    assert same.id in later.blocked(set())
