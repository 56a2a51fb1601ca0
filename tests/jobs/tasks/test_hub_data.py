"""The hub sections of the tasks, read from small files as the hub would give them."""

import pyarrow
import pyarrow.parquet
import pytest

from microtome.jobs.tasks import load_task, task_names
from microtome.jobs.tasks.source import find_data
from microtome.jobs.tasks.types.task_type import TaskType

TAGS = [[0, 1, 2, 0], [3, 4, 0, 0]]
WORDS = [["a", "b", "c", "d"]] * 2
PAIRS = {"sentence_A": ["a b", "c"], "sentence_B": ["d", "e f"], "id": [1, 2]}
ROWS = {
    "jnlpba": {"tokens": WORDS, "tags": TAGS},
    "bc5cdr-chemical": {"tokens": WORDS, "tags": TAGS},
    "bc5cdr-disease": {"tokens": WORDS, "tags": TAGS},
    "ncbi-disease": {
        "id": ["1", "2"],
        "tokens": WORDS,
        "ner_tags": [["O", "B-Disease", "I-Disease", "O"]] * 2,
    },
    "sick": PAIRS | {"label": ["neutral", "entailment"], "relatedness_score": [1.5, 4.0]},
    "sick-relatedness": PAIRS | {"label": ["neutral", "entailment"], "relatedness_score": [1.5, 4.0]},
    "biosses": {
        "sentence1": [f"{n} a b" for n in range(40)],
        "sentence2": ["d e"] * 40,
        "score": [n / 10 for n in range(40)],
    },
}
LABELS = {
    "jnlpba": [("O", "B-DNA", "I-DNA", "O"), ("B-protein", "I-protein", "O", "O")],
    "bc5cdr-chemical": [("O", "B-Chemical", "O", "O"), ("O", "I-Chemical", "O", "O")],
    "bc5cdr-disease": [("O", "O", "B-Disease", "O"), ("I-Disease", "O", "O", "O")],
    "ncbi-disease": [("O", "B-Disease", "I-Disease", "O")] * 2,
    "sick": ["neutral", "entailment"],
    "sick-relatedness": [1.5, 4.0],
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has the files of a task; the (repository, revision, patterns) that were asked of it."""
    requests = []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def snapshot_download(repo, *, revision, allow_patterns, **options):
        requests.append((repo, revision, tuple(allow_patterns)))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)

    def publish(name):
        for file in load_task(name).hub.files.values():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(ROWS[name]), tmp_path / file)
        return requests

    return publish


def test_every_hub_section_is_tried():
    assert {name for name in task_names() if load_task(name).hub is not None} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_the_data_of_the_hub_are_examples_of_the_task(hub, name):
    requests, task = hub(name), load_task(name)
    data = find_data(task)
    assert requests == [(task.hub.repo, task.hub.revision, tuple(task.hub.files.values()))]
    kind: TaskType = task.kind
    for split in ("train", "dev", "test"):
        examples = data.read(split)
        assert examples
        assert all(kind.strange(example, task.labels) is None for example in examples)
        if name in LABELS:
            assert [example.label for example in examples] == LABELS[name]
    if name == "biosses":
        assert sum(len(data.read(split)) for split in ("train", "dev", "test")) == 40
