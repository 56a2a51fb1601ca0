"""The hub sections of the tasks, read from small files as the hub would give them."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from microtome.jobs.tasks import load_task, task_names
from microtome.jobs.tasks.source import find_data
from microtome.jobs.tasks.types.task_type import TaskType

TAGS = [[0, 1, 2, 0], [3, 4, 0, 0]]
WORDS = [["a", "b", "c", "d"]] * 2
PAIRS = {"sentence_A": ["a b", "c"], "sentence_B": ["d", "e f"], "id": [1, 2]}
ABSTRACT = {
    "pmid": "7",
    "text": "A title. Zinol blocks ABC1 and ABC2.",
    "entities": {
        "id": ["T1", "T2", "T3"],
        "type": ["CHEMICAL", "GENE-Y", "GENE-N"],
        "text": ["Zinol", "ABC1", "ABC2"],
        "offsets": [[9, 14], [22, 26], [31, 35]],
    },
    "relations": {"type": ["CPR:4", "CPR:10"], "arg1": ["T1", "T1"], "arg2": ["T2", "T3"]},
}
CONTEXT = {
    "contexts": ["Doses were low.", "Pain went away."],
    "labels": ["METHODS", "RESULTS"],
    "meshes": ["Humans"],
    "reasoning_required_pred": ["y"],
    "reasoning_free_pred": ["y"],
}
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
    "hoc": {
        "id": ["1", "2", "3"],
        "document_id": ["7_0", "7_1", "8_0"],
        "text": ["Cells grow .", "Cells move and grow .", "Nothing ."],
        "labels": [
            ["none"],
            ["activating invasion and metastasis", "sustaining proliferative signaling"],
            [],
        ],
    },
    "chemprot": {name: [value] for name, value in ABSTRACT.items()},
    "pubmedqa": {
        "pubid": list(range(40)),
        "question": [f"Does drug {n} help?" for n in range(40)],
        "context": [CONTEXT] * 40,
        "long_answer": ["It does."] * 40,
        "final_decision": ["yes", "no", "maybe", "yes"] * 10,
    },
    "stop-reasons": {
        "text": [f"slow accrual and no funds at site {n}" for n in range(40)],
        "Insufficient_Enrollment": [1] * 40,
        "Business_Administrative": [1] * 40,
        "label_descriptions": [["Insufficient_Enrollment", "Business_Administrative"]] * 40,
    },
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
    "hoc": [(), ("activating invasion and metastasis", "sustaining proliferative signaling"), ()],
    "chemprot": ["CPR:4", "false"],
}
DRAWN = {  # all in one split there; the sizes of the splits that are drawn of 40 rows
    "biosses": {"train": 26, "dev": 6, "test": 8},
    "pubmedqa": {"train": 18, "dev": 2, "test": 20},
    "stop-reasons": {"train": 32, "dev": 4, "test": 4},
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
            _write(ROWS[name], tmp_path / file)
        return requests

    return publish


def _write(columns, path):
    """A file in the format that its name says: Parquet, or an object per line."""
    table = pyarrow.table(columns)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))


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
    if name in DRAWN:
        assert {split: len(data.read(split)) for split in ("train", "dev", "test")} == DRAWN[name]


def test_the_parts_of_an_abstract_are_the_second_text_of_a_question(hub):
    hub("pubmedqa")
    [example] = [e for e in _all_rows("pubmedqa") if e.id == "3"]
    question, abstract = map(" ".join, example.texts)
    assert question == "Does drug 3 help?"
    assert abstract == "Doses were low. Pain went away."
    assert example.label == "yes"


def test_all_classes_of_a_trial_are_read(hub):
    hub("stop-reasons")
    classes = {example.label for example in _all_rows("stop-reasons")}
    assert classes == {("Insufficient_Enrollment", "Business_Administrative")}


def test_sentences_of_one_abstract_are_of_one_document(hub):
    hub("hoc")
    assert [example.document for example in find_data(load_task("hoc")).read("test")] == ["7", "7", "8"]


def test_a_pair_of_an_abstract_is_the_sentence_with_both_mentions_masked(hub):
    hub("chemprot")
    first, second = find_data(load_task("chemprot")).read("train")
    assert " ".join(first.texts[0]) == "@CHEMICAL$ blocks @GENE$ and ABC2."
    assert " ".join(second.texts[0]) == "@CHEMICAL$ blocks ABC1 and @GENE$ ."
    assert (first.id, first.document) == ("7.T1.T2", "7")


def _all_rows(name):
    data = find_data(load_task(name))
    return [example for split in ("train", "dev", "test") for example in data.read(split)]
