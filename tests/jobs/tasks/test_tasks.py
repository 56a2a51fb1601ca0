import itertools
from collections import Counter

import pytest

from microtome.analysis.metrics.tags import word_class
from microtome.jobs.data.examples import document_names
from microtome.jobs.tasks import Published, load_task, task_names
from microtome.jobs.tasks.check import check, overlap, refuse_overlap
from microtome.jobs.tasks.source import find_data
from microtome.jobs.tasks.types.ner import iob2_of_types
from microtome.store.errors import InputError, MissingError

# data/MANIFEST of the corpora: examples per split, then entities or classes per split
COUNTS = {
    "jnlpba": ((16807, 1739, 3856), {"protein": (27803, 2466, 5067), "RNA": (844, 107, 118)}),
    "bc5cdr-disease": ((4560, 4581, 4797), {"Disease": (4182, 4246, 4424)}),
    "nli4ct": ((1700, 200, 500), {"Entailment": (850, 100, 250), "Contradiction": (850, 100, 250)}),
    "sick": (
        (4500, 500, 4927),
        {"neutral": (2536, 282, 2793), "entailment": (1299, 144, 1414), "contradiction": (665, 74, 720)},
    ),
}


@pytest.mark.parametrize("name", task_names())
def test_every_task_file_is_complete(name):
    task = load_task(name)
    assert task.name == name
    for spec in (task.data, *task.also):
        assert set(spec.files) | set(spec.hold_out) == {"train", "dev", "test"}
    assert len(task.classes) >= len(task.labels)


@pytest.mark.parametrize("name", list(COUNTS))
def test_counts_are_those_of_the_corpus(corpora, monkeypatch, name):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    data = find_data(load_task(name))
    sizes, labels = COUNTS[name]
    found = [data.read(split) for split in ("train", "dev", "test")]
    assert tuple(map(len, found)) == sizes
    for label, wanted in labels.items():
        counts = [Counter(_labels(examples)) for examples in found]
        assert tuple(count[label] for count in counts) == wanted


def _labels(examples):
    for example in examples:
        if isinstance(example.label, str):
            yield example.label
        else:
            yield from (tag[2:] for tag in example.label if tag.startswith("B-"))


OVERLAPS = {  # test examples whose texts are training texts, and all of them
    "jnlpba": (108, 3856),
    "ddi2013": (93, 5716),
    "sick": (49, 4927),
    "sick-relatedness": (49, 4927),
    "bc5cdr-disease": (16, 4797),
    "bc5cdr-chemical": (16, 4797),
    "hoc": (6, 3547),
    "chemprot": (5, 15845),
    "nli4ct": (0, 500),
    "pubmedqa": (0, 500),
    "trial-gender": (0, 200),
    "stop-reasons-covid": (0, 1284),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_no_corpus_overlaps_more_than_its_task_allows(corpora, monkeypatch, name):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    data = find_data(load_task(name))
    both, size = OVERLAPS[name]
    share = overlap(data.read("test"), data.read("train"))
    assert share == both / size
    refuse_overlap(data.task, share)
    tight = data.task.model_copy(update={"max_overlap": share / 2})
    if share:
        with pytest.raises(InputError, match=f"'{name}': .*% of the test texts are training texts"):
            refuse_overlap(tight, share)


@pytest.mark.parametrize("name", ["ddi2013", "stop-reasons-covid", "trial-gender"])
def test_no_text_is_in_two_splits_of_one_file(corpora, monkeypatch, name):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    data = find_data(load_task(name))
    texts = {split: {e.texts for e in data.read(split)} for split in ("train", *data.spec.shares)}
    for one, other in itertools.combinations(texts, 2):
        assert not texts[one] & texts[other]
    documents = {split: set(document_names(data.read(split))) for split in texts}
    of_file = sum(map(len, documents.values()))
    for split, share in data.spec.shares.items():
        assert len(documents[split]) / of_file == pytest.approx(share, rel=0.01)


def test_what_six_classes_cannot_say_of_jnlpba(corpora, monkeypatch):
    """83 of the 8,662 test entities begin right after one of their type. With perfect types of all words,
    each is missed, and so is the one before it."""
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    task = load_task("jnlpba")
    examples = find_data(task).read("test")
    touching = sum(
        after[0] == "B" and before[2:] == after[2:]
        for example in examples
        for before, after in itertools.pairwise(example.label)
    )
    assert (touching, sum(tag[0] == "B" for e in examples for tag in e.label)) == (83, 8662)
    perfect = [iob2_of_types([word_class(tag) for tag in example.label]) for example in examples]
    scores = task.kind.score(examples, perfect, task.labels)
    assert (scores["token_macro_f1"], scores["token_micro_f1"]) == (1, 1)
    assert scores["entity_f1"] == pytest.approx(0.9856, abs=5e-5)


def test_jnlpba_words_and_longest_sentence(corpora, monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    data = find_data(load_task("jnlpba"))
    assert sum(e.words for e in data.read("train")) == 445090
    assert max(e.words for split in ("train", "dev", "test") for e in data.read(split)) == 208
    train = {e.texts for e in data.read("train")}
    assert len(train & {e.texts for e in data.read("test")}) == 103


def test_sick_relatedness_is_that_of_the_pairs_of_sick(corpora, monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    scored, judged = find_data(load_task("sick-relatedness")), find_data(load_task("sick"))
    for split, size in {"train": 4500, "dev": 500, "test": 4927}.items():
        pairs = scored.read(split)
        assert len(pairs) == size
        assert [(e.id, e.texts) for e in pairs] == [(e.id, e.texts) for e in judged.read(split)]
        scores = [e.label for e in pairs]
        assert (min(scores), max(scores)) == (1.0, 5.0)


@pytest.mark.parametrize("folder", ["sick-relatedness", "sick"])
def test_sick_relatedness_is_read_as_a_number_from_either_folder(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("MICROTOME_DATA", str(tmp_path))
    header = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
    (tmp_path / folder).mkdir()
    for name in ("SICK_train.txt", "SICK_trial.txt", "SICK_test_annotated.txt"):
        (tmp_path / folder / name).write_text(f"{header}7\tA dog runs\tA dog rests\t3.4\tNEUTRAL\n")
    task = load_task("sick-relatedness")
    [pair] = find_data(task).read("test")
    assert (pair.id, pair.texts, pair.label) == ("7", (("A", "dog", "runs"), ("A", "dog", "rests")), 3.4)
    assert task.licence == load_task("sick").licence


def test_unknown_names_and_files():
    with pytest.raises(
        InputError, match="unknown task 'bc5cdr-diseas'; did you mean 'bc5cdr-disease'.*task ls"
    ):
        load_task("bc5cdr-diseas")
    with pytest.raises(MissingError, match="no task file nowhere.yaml"):
        load_task("nowhere.yaml")


OWN = """
name: own
type: pair-classification
title: mine
labels: [yes, "no"]
licence: mine
obtain: ask me
data:
  format: jsonl
  root: files
  files: {train: a.jsonl, dev: a.jsonl, test: a.jsonl}
  columns: {text_a: a, text_b: b, label: y}
"""


def own_task(tmp_path, text=OWN, rows='{"a": "x", "b": "y", "y": "no"}\n'):
    (tmp_path / "files").mkdir(exist_ok=True)
    (tmp_path / "files" / "a.jsonl").write_text(rows)
    (tmp_path / "own.yaml").write_text(text.replace("[yes,", '["yes",'))
    return load_task(str(tmp_path / "own.yaml"))


def test_a_task_file_of_the_users_own_finds_its_data_beside_it(tmp_path):
    data = find_data(own_task(tmp_path))
    assert [example.label for example in data.read("test")] == ["no"]
    assert len(data.digest("test")) == 64


def test_the_identity_of_a_dataset_is_its_rows(tmp_path):
    first = find_data(own_task(tmp_path)).digest("test")
    (tmp_path / "moved").mkdir()
    assert find_data(own_task(tmp_path / "moved")).digest("test") == first
    (tmp_path / "changed").mkdir()
    changed = own_task(tmp_path / "changed", rows='{"a": "x", "b": "y", "y": "yes"}\n')
    assert find_data(changed).digest("test") != first


@pytest.mark.parametrize(
    ("text", "rows", "message"),
    [
        (OWN, "", "the test split of 'own' is empty"),
        (OWN, '{"a": "x", "b": "y", "y": "maybe"}\n', r"example 0: unknown label 'maybe' \(known: yes, no\)"),
        (
            OWN.replace("format: jsonl", "format: josnl"),
            "x",
            "unknown data format 'josnl'; did you mean 'jsonl'",
        ),
        (OWN.replace("title", "titel"), "x", "unknown key in .*own.yaml:4 'titel'; did you mean 'title'"),
        (OWN + "recipe: {epoch: 1}\n", "x", "under 'recipe' 'epoch'; did you mean 'epochs'"),
        (OWN + "recipe: {epochs: -1}\n", "x", "recipe.epochs: input should be greater than 0"),
        (OWN.replace("pair-classification", "pairs"), "x", "unknown task type 'pairs'"),
        (OWN + "  : bad: yaml\n", "x", "not YAML"),
    ],
)
def test_bad_task_files_and_data_are_one_line(tmp_path, text, rows, message):
    with pytest.raises(InputError, match=message):
        find_data(own_task(tmp_path, text, rows)).read("test")


def test_missing_data_says_where_it_looked_and_how_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(MissingError, match=r"no data for task 'sick' \(MICROTOME_DATA is not set\)"):
        find_data(load_task("sick"))
    monkeypatch.setenv("MICROTOME_DATA", str(tmp_path))
    with pytest.raises(MissingError, match=r"SICK_train.txt\).*into \$MICROTOME_DATA/sick/"):
        find_data(load_task("sick"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"metric": "entity_f2", "value": 0.5},
            "metric: unknown metric 'entity_f2'; did you mean 'entity_f1'",
        ),
        ({"metric": "cosine", "value": 0.5}, "metric: unknown metric 'cosine'"),
        ({"metric": "entity_f1", "value": 85.9}, "entity_f1 is from 0 to 1, not 85.9"),
        ({"metric": "accuracy", "value": -0.1}, "accuracy is from 0 to 1, not -0.1"),
    ],
)
def test_a_published_score_is_a_value_of_a_score_in_the_registry(values, message):
    with pytest.raises(InputError, match=message):
        Published.parse(values | {"model": "bert", "source": "a paper"}, where="task")


def test_a_published_correlation_may_be_negative():
    values = {"metric": "pearson", "value": -0.1, "model": "bert", "source": "a paper"}
    assert Published.parse(values, where="task").value == -0.1


def test_all_fields_that_are_missing_come_in_one_line_with_their_places(tmp_path):
    text = "name: own\ntype: pair-classification\nrecipe: {}\ndata:\n  files: {train: a}\n"
    with pytest.raises(InputError) as caught:
        own_task(tmp_path, text)
    file = tmp_path / "own.yaml"
    wanted = (
        f"{file}:1: fields required: title, labels, licence, obtain; {file}:4: fields required: data.format"
    )
    assert str(caught.value) == wanted


def test_a_column_role_that_is_misspelt_is_named_with_its_line(tmp_path):
    with pytest.raises(InputError, match="own.yaml:12: .*unknown column role 'labl'; did you mean 'label'"):
        own_task(tmp_path, OWN.replace("label: y", "labl: y"))


ROWS = "".join(f'{{"a": "x {n}", "b": "y", "y": "no"}}\n' for n in range(20))


def test_a_task_may_leave_dev_out_and_have_a_test_without_labels(tmp_path):
    text = OWN.replace("dev: a.jsonl, test: a.jsonl", "test: b.jsonl")
    text += "  unlabelled: [test]\n"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "b.jsonl").write_text('{"a": "new", "b": "y"}\n')
    data = find_data(own_task(tmp_path, text, ROWS))
    assert (len(data.read("train")), len(data.read("dev"))) == (16, 4)
    assert not {e.texts for e in data.read("train")} & {e.texts for e in data.read("dev")}
    *_, test = check(data)
    assert (test["examples"], test["labels"]) == (1, {})
    assert "20% of its documents, held out, as the task names none" in check(data)[1]["file"]
    for asked in (data.read, data.digest):
        with pytest.raises(InputError, match="the test split of 'own' is unlabelled: it can be predicted"):
            asked("test")
