"""The ids of a few requests of every kind, which nobody changes by accident.

`golden_ids.json` has the id of each request, the version of each kind, and the defaults of its settings.
Write what is new into it:

    MICROTOME_WRITE_GOLDEN_IDS=1 python -m pytest tests/jobs/test_golden_ids.py

which changes nothing that is there already, unless the version of the kind has been raised.
"""

import json
import os
import typing
from pathlib import Path

import pytest
from pydantic import create_model

from microtome.analysis.attention.compare import AttentionConfig
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.similarity_settings import SimilarityConfig
from microtome.jobs.data.corpora import Corpus, CorpusSpec, corpus_identity
from microtome.jobs.kinds import KINDS, kind_named
from microtome.jobs.kinds.adapt import BLOCK_SIZES, AdaptConfig, adapt_job
from microtome.jobs.kinds.answer import AnswerConfig, TaskAnswerConfig, answer_job
from microtome.jobs.kinds.attention import attention_job
from microtome.jobs.kinds.extract import extract_job
from microtome.jobs.kinds.extraction.settings import ExtractConfig, SplitConfig
from microtome.jobs.kinds.finetune import FinetuneConfig, finetune_job
from microtome.jobs.kinds.generate import GenerateConfig, generate_job
from microtome.jobs.kinds.probe import probe_job
from microtome.jobs.kinds.randomise import RandomConfig, randomise_job
from microtome.jobs.kinds.similarity import similarity_job
from microtome.jobs.models.source import ModelSource
from microtome.jobs.tasks import Recipe, Task
from microtome.jobs.tasks.source import TaskData
from microtome.store.config import Config
from microtome.store.errors import Absence
from microtome.store.identity import artifact_id

GOLDEN = Path(__file__).with_name("golden_ids.json")
WRITE = "MICROTOME_WRITE_GOLDEN_IDS"
CONFIGS = {
    "adapt": AdaptConfig,
    "randomise": RandomConfig,
    "finetune": FinetuneConfig,
    "extract": SplitConfig,
    "generate": GenerateConfig,
    "answer": TaskAnswerConfig,
    "probe": ProbeConfig,
    "attention": AttentionConfig,
    "similarity": SimilarityConfig,
}
MODEL = ModelSource("model", "a" * 64)
SPLITS = {"train": "1" * 64, "dev": "2" * 64, "test": "3" * 64}
TRAIN, DEV, TEST = SPLITS.values()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def data(kind):
    labels = ["Gene", "Disease"] if kind == "ner" else ["entailment", "neutral", "contradiction"]
    values = {"name": kind, "type": kind, "labels": labels, "title": "t", "licence": "l", "obtain": "o"}
    values["data"] = {"format": "conll" if kind == "ner" else "jsonl", "files": {"train": "train.data"}}
    task = Task.parse(values, where="the test")
    return TaskData(
        task, task.data, {}, "nowhere", absence=Absence("dataset", kind, "not here", "ask"), identities=SPLITS
    )


def adapt(corpus="c" * 64, base=MODEL, **settings):
    spec = {"format": "text", "path": "texts"}
    config = AdaptConfig.parse({"objective": "mlm", "corpus": spec, **settings}, where="the test")
    return adapt_job("new", config, base, Corpus(config.corpus, corpus))


def finetune(kind, fraction=100, seed=1, **recipe):
    rows = data(kind)
    return finetune_job(rows.task, rows, MODEL, fraction, seed, Recipe.parse(recipe, where="the test"))


def extract(kind, split="test", **settings):
    rows = data(kind)
    return extract_job(rows.task, rows, MODEL, split, ExtractConfig.parse(settings, where="the test"), {})


def answer(**settings):
    rows = data("pair-classification")
    return answer_job(rows.task, rows, MODEL, AnswerConfig.parse(settings, where="the test"))


def probe(**settings):
    return probe_job("p", TRAIN, TEST, DEV, ProbeConfig.parse(settings, where="the test"), {})


def attention(**settings):
    return attention_job("a", TRAIN, TEST, AttentionConfig.parse(settings, where="the test"), {})


def similarity(**settings):
    return similarity_job("s", TRAIN, TEST, SimilarityConfig.parse(settings, where="the test"), {})


def generate(**settings):
    return generate_job(MODEL, GenerateConfig.parse(settings, where="the test"), ["one", "two"])


def hub_corpus():
    values = {"format": "hub", "hub": "a/b", "column": "text", "revision": COMMIT}
    return corpus_identity(CorpusSpec.parse(values, where="the test"))


REQUESTS = {
    "adapt": lambda: adapt(),
    "adapt, masked less, with an adapter": lambda: adapt(mask_share=0.1, epochs=2, lora={"rank": 4}),
    "adapt, a new causal model": lambda: adapt(objective="clm", base=None, new={"architecture": "gpt2"}),
    "adapt, a corpus of the hub": lambda: adapt(hub_corpus()),
    "randomise": lambda: randomise_job("r", RandomConfig(), MODEL),
    "randomise, another seed": lambda: randomise_job("r", RandomConfig(seed=7), MODEL),
    "finetune": lambda: finetune("ner"),
    "finetune, a recipe": lambda: finetune("pair-classification", 30, 2, learning_rate=5e-5, keep="last"),
    "finetune, none of the data": lambda: finetune("ner", 0, epochs=9, max_length=64),
    "extract": lambda: extract("ner"),
    "extract, hidden states": lambda: extract(
        "pair-classification",
        "train",
        keep=["hidden"],
        hidden_layers=[0, 3],
        examples=100,
        segments="separate",
    ),
    "generate": lambda: generate(),
    "generate, likelier tokens": lambda: generate(temperature=0.5, samples=3, max_new_tokens=10),
    "answer": lambda: answer(),
    "answer, by mean": lambda: answer(score="mean", limit=20, split="dev"),
    "probe": lambda: probe(),
    "probe, mlp": lambda: probe(probe="mlp", width=64, layers=[0, 1], strengths=[0.1], codelength=False),
    "attention": lambda: attention(),
    "attention, patterns": lambda: attention(measures=[], special="keep", layers=[2]),
    "similarity": lambda: similarity(),
    "similarity, rsa": lambda: similarity(measures=["rsa"], tokens=500, seed=3),
}


def settings_classes(annotation):
    """The settings classes in the type of a field."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in typing.get_args(annotation):
        yield from settings_classes(part)


def is_runtime(field):
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("runtime"))


def defaults(config):
    """Class -> field -> default, of a settings class and of those in its fields, without runtime fields."""
    classes, fields = {}, {}
    for name, field in config.model_fields.items():
        if is_runtime(field):
            continue
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            fields[name] = default.all_settings() if isinstance(default, Config) else default
        for inner in settings_classes(field.annotation):
            classes |= defaults(inner)
    return json.loads(json.dumps({config.__name__: fields, **classes}))


def current():
    versions = {kind: kind_named(kind).version for kind in CONFIGS}
    by_kind = {kind: defaults(config) for kind, config in CONFIGS.items()}
    by_kind["adapt"] |= defaults(CorpusSpec)  # of a corpus on the hub, its settings identify it
    by_kind["adapt"]["BLOCK_SIZES"] = BLOCK_SIZES
    ids = {name: {"kind": (job := make()).kind, "id": job.id} for name, make in REQUESTS.items()}
    return {"versions": versions, "defaults": by_kind, "ids": ids}


def merged(golden, now):
    """What is new, and what is of a kind whose version was raised, is taken from `now`; the rest stays."""
    raised = {kind for kind, version in now["versions"].items() if golden["versions"].get(kind) != version}
    old_ids = {n: v for n, v in golden["ids"].items() if n in now["ids"] and v["kind"] not in raised}
    old_defaults = {
        kind: {
            name: fields
            | {k: v for k, v in golden["defaults"].get(kind, {}).get(name, {}).items() if k in fields}
            for name, fields in classes.items()
        }
        for kind, classes in now["defaults"].items()
        if kind not in raised
    }
    return {
        "versions": now["versions"],
        "defaults": now["defaults"] | old_defaults,
        "ids": now["ids"] | old_ids,
    }


@pytest.fixture(scope="module")
def golden():
    values = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else None
    if os.environ.get(WRITE):
        empty = {"versions": {}, "defaults": {}, "ids": {}}
        values = merged(values or empty, current())
        GOLDEN.write_text(json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n", "utf-8")
    return values


def test_every_kind_is_in_the_golden_file(golden):
    assert set(CONFIGS) == set(KINDS) == {make().kind for make in REQUESTS.values()}
    assert set(golden["ids"]) == set(REQUESTS)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_id_of_a_request_stays(golden, name):
    job = REQUESTS[name]()
    assert job.id == golden["ids"][name]["id"], (
        f"the id of '{name}' has changed, and nobody would find again what they have made. Undo what changed "
        f"it; a new setting needs a default that does what was done before. If a {job.kind} job now makes "
        f"something else of the same request, raise the version of {job.kind} in its file in jobs/kinds/ and "
        f"run this file with {WRITE}=1"
    )


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_changed_default_raises_the_version_of_its_kind(golden, kind):
    """No default is in an id, so the ids would stay and mean something else."""
    now = current()
    assert now["versions"][kind] == golden["versions"][kind], (
        f"the version of {kind} has been raised: run this file with {WRITE}=1"
    )
    for name, fields in now["defaults"][kind].items():
        recorded = golden["defaults"][kind].get(name, {})
        new = sorted(fields.keys() - recorded.keys())
        assert not new, f"{name} has new settings with a default, {new}: run this file with {WRITE}=1"
        changed = sorted(key for key in fields if fields[key] != recorded[key])
        assert not changed, (
            f"defaults of {name} have changed: {changed}. The same ids would mean other results: raise the "
            f"version of {kind} in its file in jobs/kinds/, and run this file with {WRITE}=1"
        )


@pytest.mark.parametrize("name", REQUESTS)
def test_a_new_setting_with_a_default_changes_no_id(name):
    job = REQUESTS[name]()
    wider = extended(type(job.config))
    config = wider.model_validate(job.config.model_dump())
    assert "new_setting" in type(config).model_fields
    identity = artifact_id(job.kind, kind_named(job.kind).version, config.identity(), job.inputs)
    assert identity == job.id


def extended(config):
    """The settings class with a new field; so are the settings classes in its fields that are needed."""
    inner = {
        name: (extended(field.annotation), ...)
        for name, field in config.model_fields.items()
        if field.is_required() and not is_runtime(field) and list(settings_classes(field.annotation))
    }
    return create_model(config.__name__, __base__=config, new_setting=(int | None, 5), **inner)


def test_writing_keeps_what_is_there_unless_a_version_was_raised():
    now = current()
    old = json.loads(json.dumps(now))
    old["ids"]["probe"]["id"] = "before"
    old["defaults"]["probe"]["ProbeConfig"]["seed"] = 99
    del old["ids"]["similarity"]
    kept = merged(old, now)
    assert (kept["ids"]["probe"]["id"], kept["defaults"]["probe"]["ProbeConfig"]["seed"]) == ("before", 99)
    assert kept["ids"]["similarity"] == now["ids"]["similarity"]
    old["versions"]["probe"] -= 1
    assert merged(old, now) == now
