"""Every task type from a data file to a score, a cache and a probe, with tiny models."""

import json

import numpy as np
import pytest

from microtome.analysis.metrics import METRICS as REGISTRY
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.units import units
from microtome.jobs.data.examples import Example
from microtome.jobs.kinds.extract import extract_job
from microtome.jobs.kinds.extraction.settings import ExtractConfig
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.models.source import find_model
from microtome.jobs.run.executor import run_job
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError
from microtome.store.results import WITHOUT_DUPLICATES, read_rows

ONE, TWO = {"text_a": "a", "label": "y"}, {"text_a": "a", "text_b": "b", "label": "y"}
MARKED = {"text_a": "sentence", "label": "label", "id": "index"}
KINDS = {  # format of the task's data, its columns and target, labels
    "classification": ("jsonl", ONE, "class", ("good", "bad")),
    "multi-label": ("jsonl", ONE, "classes", ("pain", "fever", "cough")),
    "multi-label-documents": ("jsonl", ONE, "classes", ("pain", "fever", "cough")),
    "pair-classification": ("jsonl", TWO, "class", ("good", "bad")),
    "question-answering": ("jsonl", TWO, "class", ("yes", "no", "maybe")),
    "relation": ("blue-relation", MARKED, "class", ("none", "treats")),
    "similarity": ("jsonl", TWO, "number", ("score",)),
}
RECIPE = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 8, "max_length": 32}
DOCUMENTS = {"example_f1", "example_precision", "example_recall"}  # of predictions, not of probes
METRICS = {
    "classification": {"accuracy", "macro_f1"},
    "multi-label": {"micro_f1", "macro_f1", "weighted_f1", "samples_f1", "exact_match"},
    "multi-label-documents": {"micro_f1", "macro_f1", "weighted_f1", "samples_f1", "exact_match", *DOCUMENTS},
    "pair-classification": {"accuracy", "macro_f1"},
    "question-answering": {"accuracy", "macro_f1"},
    "relation": {"micro_f1", "macro_f1", "micro_precision", "micro_recall"},
    "similarity": {"pearson", "spearman"},
}


def rows(kind, split, count):
    """Texts whose words tell the label; every split has its own."""
    classes = KINDS[kind][3]
    for number in range(count):
        name = classes[number % len(classes)]
        text = f"{split} {number} patient {name} dose {name}"
        if kind == "relation":
            yield f"{number}\t{split} {number} @DRUG$ {name} @DISEASE$ {name}\t{name}"
        elif kind == "similarity":
            yield json.dumps({"a": text, "b": f"other {number % 5}", "y": number % 5 / 2})
        elif kind.startswith("multi-label"):
            chosen = classes[: number % (len(classes) + 1)]
            yield json.dumps({"a": f"{text} {' '.join(chosen)}", "y": ",".join(chosen)})
        else:
            yield json.dumps({"a": text, "b": "was it", "y": name})


@pytest.fixture
def task_of(tmp_path, write_task):
    def make(kind):
        for split, count in {"train": 24, "dev": 12, "test": 12}.items():
            head = ["index\tsentence\tlabel"] if kind == "relation" else []
            lines = [*head, *rows(kind, split, count)]
            (tmp_path / f"{split}.data").write_text("".join(f"{line}\n" for line in lines))
        return load_task(str(write_task(kind, *KINDS[kind], **RECIPE)))

    return make


def done(job, store):
    error, _ = run_job(job, store.root)
    assert error is None, f"{error}\n{store.log_path(job.request).read_text()}"
    return store.find(job.request)


def test_every_type_is_tried():
    assert set(KINDS) | {"ner"} == set(TASK_TYPES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["bert", "gpt2"])
def test_a_type_is_trained_scored_cached_and_probed(task_of, tiny_models, tmp_path, kind, model):
    task, store = task_of(kind), Store(tmp_path / "store")
    data, base = find_data(task), find_model(str(tiny_models / model), store)
    made = done(finetune_job(task, data, base, 100, 1, task.recipe), store)
    scored = {row["metric"]: row["value"] for row in read_rows(made) if row["split"] == "test"}
    assert METRICS[kind] <= set(scored)
    assert all(np.isfinite(value) for value in scored.values())
    by_class = {row["label"] for row in read_rows(made) if "label" in row}
    assert by_class == (set() if kind == "similarity" else set(task.labels))
    logits = np.load(made.path / "logits.npz")
    assert logits["logits"].shape == (12, len(task.classes))

    caches = [
        ActivationCache(
            done(extract_job(task, data, base, split, ExtractConfig(keep=("hidden",)), {}), store).path
        )
        for split in ("train", "test")
    ]
    found = probe(ProbeConfig(), *caches).rows
    assert {row["layer"] for row in found} == {0, 1, 2, None}
    assert METRICS[kind] - DOCUMENTS <= {row["metric"] for row in found}
    for row in [*read_rows(made), *found]:
        low, high = REGISTRY[row["metric"]].bounds
        assert low - 1e-9 <= row["value"] <= high + 1e-9, row
    if kind == "relation":
        assert caches[0].spans[0].tolist() == [[2, 3], [4, 5]]


MARKED_ROWS = {  # marks -> a sentence with its two mentions, and how the words of the mentions are found
    "masks": "{0} @DRUG$ {1} @DISEASE$",
    "brackets": "{0} << zinol one >> {1} [[pain]].",
    "tags": "{0} [E2]pain[/E2] {1} ([E1]zinol one[/E1])",
    "xml": "{0} <e1>zinol one</e1> {1} <e2> pain </e2>",
    "own": "{0} #zinol one# {1} *pain*",
}
MENTIONS = {"masks": ("@DRUG$", "@DISEASE$")}


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
@pytest.mark.parametrize("marks", MARKED_ROWS)
def test_a_relation_of_any_table_has_the_features_of_its_mentions(
    write_task, tiny_models, tmp_path, form, marks
):
    head = [] if form == "jsonl" else ["a\ty"]
    for split in ("train", "dev", "test"):
        texts = [MARKED_ROWS[marks].format(f"{split} {n}", "treats" if n % 2 else "and") for n in range(8)]
        labels = ["treats" if number % 2 else "none" for number in range(8)]
        if form == "jsonl":
            lines = [json.dumps({"a": text, "y": y}) for text, y in zip(texts, labels, strict=True)]
        else:
            lines = [f"{text}\t{y}" for text, y in zip(texts, labels, strict=True)]
        (tmp_path / f"{split}.data").write_text("\n".join([*head, *lines]))
    path = write_task("relation", form, ONE, "class", ("none", "treats"), **RECIPE)
    with pytest.raises(InputError, match=r"test.data:\d: the two mentions .* needs marks") as caught:
        find_data(load_task(str(path))).read("test")
    assert marks == "own" or str(caught.value).endswith(f"did you mean marks: {marks}?")

    setting = ["#(.+?)#", r"\*(.+?)\*"] if marks == "own" else marks
    path.write_text(path.read_text().replace("  target:", f"  marks: {json.dumps(setting)}\n  target:"))
    task, store = load_task(str(path)), Store(tmp_path / "store")
    data, base = find_data(task), find_model(str(tiny_models / "bert"), store)
    for example in data.read("train"):
        mentions = [" ".join(example.texts[0][start:end]) for start, end in example.spans]
        assert tuple(mentions) == MENTIONS.get(marks, ("zinol one", "pain"))
    cache = ActivationCache(
        done(extract_job(task, data, base, "train", ExtractConfig(keep=("hidden",)), {}), store).path
    )
    first, second = np.split(units(cache).features(cache.hidden(2)), 2, axis=1)
    assert first.any(axis=1).all()
    assert second.any(axis=1).all()
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    ("kind", "form", "columns", "target", "message"),
    [
        ("classification", "jsonl", TWO, "class", "2 text(s), where the task has 1"),
        ("similarity", "jsonl", ONE, "number", "1 text(s), where the task has 2"),
        ("similarity", "jsonl", TWO, "class", "expected a number (target: number) as label, found str"),
        ("multi-label", "jsonl", ONE, "class", "expected classes (target: classes) as label, found str"),
        ("classification", "jsonl", ONE, "classes", "expected a class as label, found tuple"),
        ("ner", "jsonl", ONE, "class", "expected a tag per word as label, found str"),
    ],
)
def test_data_of_another_type_than_the_task_is_refused(
    write_task, tmp_path, kind, form, columns, target, message
):
    (tmp_path / "test.data").write_text('{"a": "x", "b": "z", "y": "1"}\n')
    for split in ("train", "dev"):
        (tmp_path / f"{split}.data").write_text("")
    task = load_task(str(write_task(kind, form, columns, target, ("1", "2"))))
    with pytest.raises(InputError) as caught:
        find_data(task).read("test")
    assert f"{tmp_path / 'test.data'}:1: {message}" in str(caught.value)


def test_a_test_set_that_is_the_training_set_is_refused(task_of, tiny_models, tmp_path):
    task, store = task_of("classification"), Store(tmp_path / "store")
    (tmp_path / "test.data").write_text((tmp_path / "train.data").read_text())
    job = finetune_job(
        task, find_data(task), find_model(str(tiny_models / "bert"), store), 100, 1, task.recipe
    )
    error, _ = run_job(job, store.root)
    assert "'classification': 100.0% of the test texts are training texts word for word" in error


@pytest.mark.parametrize(("bound", "refused"), [(0.05, True), (0.2, True), (0.25, False)])
def test_test_texts_that_are_training_texts_are_counted_and_bounded(
    task_of, tiny_models, tmp_path, bound, refused
):
    task, store = (
        task_of("classification").model_copy(update={"max_overlap": bound}),
        Store(tmp_path / "store"),
    )
    train, test = ((tmp_path / f"{split}.data").read_text().splitlines() for split in ("train", "test"))
    rows = [*test[: len(test) * 3 // 4], *train[: len(test) // 4]]
    (tmp_path / "test.data").write_text("\n".join(rows))
    job = finetune_job(task, find_data(task), find_model(str(tiny_models / "bert"), store), 0, 1, task.recipe)
    error, _ = run_job(job, store.root)
    if refused:
        assert (
            f"25.0% of the test texts are training texts word for word, and its max_overlap is {bound:.1%}"
            in error
        )
        assert store.find(job.request) is None
        return
    assert error is None
    made = store.find(job.request)
    assert made.manifest["outputs"]["also_in_train"] == {"dev": 0.0, "test": 0.25}
    found = {row["split"]: row["value"] for row in read_rows(made) if row["metric"] == "also_in_train"}
    assert found == {"dev": 0.0, "test": 0.25}
    [kept] = [r for r in read_rows(made) if r["split"] == WITHOUT_DUPLICATES and r["metric"] == "accuracy"]
    predictions = [json.loads(line) for line in (made.path / "predictions.jsonl").open()]
    new = predictions[: len(test) * 3 // 4]
    assert kept["n"] == len(new)
    assert kept["value"] == pytest.approx(np.mean([p["gold"] == p["predicted"] for p in new]))
    assert kept["low"] <= kept["value"] <= kept["high"]
    assert "25.0% of the test texts are training texts" in store.log_path(job.request).read_text()


def test_at_most_so_many_training_examples(task_of, tiny_models, tmp_path):
    task, store = task_of("classification"), Store(tmp_path / "store")
    recipe = task.recipe.model_copy(update={"train_examples": 10})
    base = find_model(str(tiny_models / "bert"), store)
    made = done(finetune_job(task, find_data(task), base, 100, 1, recipe), store)
    assert made.manifest["outputs"]["training_examples"] == 10


@pytest.mark.parametrize("kind", ["relation", "multi-label"])
def test_what_is_rare_is_found_more_often_when_it_weighs_more(task_of, tiny_models, tmp_path, kind):
    task, store = task_of(kind), Store(tmp_path / "store")
    data, base = find_data(task), find_model(str(tiny_models / "bert"), store)
    recalls = {}
    for weight in (0.01, 100):
        recipe = task.recipe.model_copy(update={"positive_weight": weight, "epochs": 3})
        rows = read_rows(done(finetune_job(task, data, base, 100, 1, recipe), store))
        recalls[weight] = [
            row["value"]
            for row in rows
            if row["metric"] == "class_recall" and row["label"] in task.kind.counted(task.labels)
        ]
    assert min(recalls[0.01]) == 0
    assert set(recalls[100]) == {1}


def test_a_weight_without_a_meaning_is_refused(task_of, tiny_models, tmp_path):
    task, store = task_of("classification"), Store(tmp_path / "store")
    recipe = task.recipe.model_copy(update={"positive_weight": 2.0})
    base = find_model(str(tiny_models / "bert"), store)
    with pytest.raises(InputError, match="positive_weight .* 'classification' is classification"):
        finetune_job(task, find_data(task), base, 100, 1, recipe)


@pytest.mark.parametrize(
    ("predicted", "right", "predictions"),
    [
        (["none", "treats"], 1, 1),
        (["none", "causes"], 1, 1),
        (["none", "none"], 0, 0),
        (["treats", "causes"], 1, 2),
    ],
)
def test_a_further_gold_relation_of_a_pair_counts_as_missed(predicted, right, predictions):
    kind, labels = TASK_TYPES["relation"], ("none", "treats", "causes")
    pairs = [
        Example("1", (("a",),), "none"),
        Example("2", (("b",),), "treats", further_labels=("causes",)),
    ]
    scores = kind.score(pairs, predicted, labels)
    assert scores["micro_recall"] == right / 2
    assert scores["micro_f1"] == pytest.approx(2 * right / (predictions + 2))
    assert len(kind.metric_terms(pairs, predicted, labels).terms) == 2
    support = {
        name: row["class_support"] for name, row in kind.score_classes(pairs, predicted, labels).items()
    }
    assert support == {"none": 1, "treats": 1, "causes": 1}
