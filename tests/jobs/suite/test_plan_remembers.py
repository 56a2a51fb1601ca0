"""Planning reads data, corpora and weights once, for as long as they stay as they are."""

import json

import pytest

from microtome.jobs.data import corpora
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.jobs.tasks import source as data_source
from microtome.store.artifacts import digests
from microtome.store.artifacts.store import Store

SUITE = """
name: own
description: one model, adapted, on one task of files
models:
  bert: {}
  adapted: {adapt: {base: bert, objective: mlm, corpus: {format: text, path: texts, separator: line}}}
tasks: [task.yaml]
fractions: [100]
"""


@pytest.fixture
def suite(tmp_path, tiny_models, write_task, monkeypatch):
    """A suite over a model folder, a corpus folder and the files of a task, all written long ago."""
    monkeypatch.setattr(digests, "SETTLED", -3600 * 10**9)
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    monkeypatch.chdir(tmp_path)
    Store().root.mkdir()
    for split in ("train", "dev", "test"):
        rows = [{"id": f"{split}-{n}", "text_a": f"{split} text {n}", "label": "ab"[n % 2]} for n in range(6)]
        (tmp_path / f"{split}.data").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_task("classification", "jsonl", {}, "class", ["a", "b"], max_length=16)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("one text\nanother text\n")
    (tmp_path / "own.yaml").write_text(SUITE)
    return tmp_path


@pytest.fixture
def reads(monkeypatch):
    """What has been read: splits, corpora, and files whose bytes were hashed."""
    read = []
    for module, name in (
        (data_source, "read_examples"),
        (corpora, "read_documents"),
        (digests.hashlib, "file_digest"),
    ):
        real = getattr(module, name)
        noted = lambda *args, real=real, name=name, **more: read.append(name) or real(*args, **more)  # noqa: E731
        monkeypatch.setattr(module, name, noted)
    return read


def planned():
    """The ids of a plan that is made in a process of its own."""
    data_source._read.cache_clear()
    return [job.id for job in make_plan(load_suite("own.yaml"), Store()).jobs]


def test_a_second_plan_reads_nothing_and_is_the_same(suite, reads):
    first = planned()
    assert {"read_examples", "read_documents", "file_digest"} == set(reads)
    reads.clear()
    assert planned() == first
    assert reads == []


@pytest.mark.parametrize("file", ["train.data", "texts/a.txt"])
def test_what_has_changed_is_read_again_and_nothing_else(suite, reads, file):
    first = planned()
    reads.clear()
    text = (suite / file).read_text()
    (suite / file).write_text(text.replace(" text", " TEXT"))
    second = planned()
    assert set(first) != set(second)
    assert reads == ["read_examples" if file == "train.data" else "read_documents"]
    (suite / file).write_text(text)
    assert planned() == first


def test_other_code_reads_again(suite, reads, monkeypatch):
    first = planned()
    reads.clear()
    for module in (data_source, corpora):
        monkeypatch.setattr(module, "code_version", lambda: "other")
    assert planned() == first
    assert sorted(reads) == ["read_documents", *["read_examples"] * 3]


def test_other_settings_of_a_task_read_again(suite, reads):
    first = planned()
    reads.clear()
    (suite / "task.yaml").write_text((suite / "task.yaml").read_text().replace("- b\n", "- b\n- c\n"))
    assert planned() != first
    assert reads == ["read_examples"] * 3


def test_a_mistake_in_the_data_is_never_remembered(suite):
    (suite / "train.data").write_text('{"id": "1", "text_a": "x", "label": "z"}\n')
    for _ in range(2):
        with pytest.raises(Exception, match="unknown label 'z'"):
            planned()


def test_a_store_without_what_was_remembered_plans_the_same(suite, reads):
    first = planned()
    (Store().root / digests.DIGESTS).write_bytes(b"\x00damaged")
    reads.clear()
    assert planned() == first
    assert len(reads) > 4
