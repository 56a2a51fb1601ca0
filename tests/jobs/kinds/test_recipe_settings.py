"""What a recipe says beside the learning rate: splits, windows, heads, thresholds."""

import itertools
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModel

from microtome.jobs.cli import main
from microtome.jobs.data.encoding import SPECIAL, Encoder
from microtome.jobs.data.examples import Example
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.models import task_heads
from microtome.jobs.models.loading import load_tokenizer
from microtome.jobs.models.source import CHECKPOINT, find_model
from microtome.jobs.models.windows import joined_windows
from microtome.jobs.predict import predict
from microtome.jobs.tasks import Recipe, load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError
from microtome.store.results import read_rows

LABELS = ("safety", "money")
TEXTS = ("it was not safe", "no funds were left", "unsafe and no funds", "nothing to say of it")
GOLD = (["safety"], ["money"], ["safety", "money"], [])


@pytest.fixture
def reasons(bench, tiny_models, write_task, tmp_path):
    """reasons(**recipe) -> the artifact of a fine-tuning on a small multi-label task."""
    for split, count in (("train", 60), ("dev", 20), ("test", 20)):
        rows = [
            {"id": f"{split}{n}", "text": f"{TEXTS[n % 4]} {split} {n}", "y": GOLD[n % 4]}
            for n in range(count)
        ]
        (tmp_path / f"{split}.data").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def run(**recipe):
        values = {"learning_rate": 3e-3, "epochs": 3, "batch_size": 8, "max_length": 32} | recipe
        columns = {"id": "id", "text_a": "text", "label": "y"}
        task = load_task(str(write_task("multi-label", "jsonl", columns, "classes", LABELS, **values)))
        model = find_model(str(tiny_models / "bert"), bench.store)
        return bench.run(finetune_job(task, find_data(task), model, 100, 1, task.recipe))

    return run


def predictions(artifact):
    return [json.loads(line)["predicted"] for line in (artifact.path / "predictions.jsonl").open()]


def shares(artifact):
    with np.load(artifact.path / "logits.npz") as stored:
        return 1 / (1 + np.exp(-stored["logits"]))


def test_a_class_is_predicted_from_the_threshold_on(reasons):
    for threshold in (0.2, 0.5, 0.8):
        artifact = reasons(threshold=threshold)
        expected = [
            [name for name, share in zip(LABELS, row, strict=True) if share > threshold]
            for row in shares(artifact)
        ]
        assert predictions(artifact) == expected
        assert artifact.outputs["threshold"] == threshold


def test_the_threshold_of_dev_is_the_best_there_and_is_kept_for_new_text(reasons, tmp_path):
    fixed = reasons(epochs=1)
    free = reasons(epochs=1, threshold="dev")
    threshold = free.outputs["threshold"]
    dev = {
        name: next(r["value"] for r in read_rows(a) if (r["split"], r["metric"]) == ("dev", "micro_f1"))
        for name, a in (("fixed", fixed), ("free", free))
    }
    assert dev["free"] >= dev["fixed"]
    assert threshold != 0.5
    assert predictions(free) == [
        [name for name, share in zip(LABELS, row, strict=True) if share > threshold] for row in shares(free)
    ]
    example = Example("x", (tuple(TEXTS[2].split()),), ())
    [row] = predict(free, free.path / CHECKPOINT, [example], None)
    assert list(row["label"]) == [name for name, share in row["probabilities"].items() if share > threshold]


def test_a_hidden_layer_is_trained_saved_and_loaded(reasons):
    artifact = reasons(head="mlp")
    folder = artifact.path / CHECKPOINT
    model = task_heads.load_with_head(folder)
    assert type(model).__name__ == "BertForSequenceClassificationWithMlp"
    assert model.hidden.weight.shape == (16, 16)
    example = Example("x", (tuple(TEXTS[0].split()),), ())
    [first], [again] = (list(predict(artifact, folder, [example], None)) for _ in range(2))
    assert first == again
    plain = reasons()
    assert not np.allclose(shares(plain), shares(artifact))
    with torch.no_grad():
        model.hidden.weight.zero_()
        model.hidden.bias.zero_()
        model.save_pretrained(folder)
    [changed] = predict(artifact, folder, [example], None)
    assert changed["probabilities"] != first["probabilities"]


@pytest.mark.parametrize("name", ["bert", "gpt2", "biogpt"])
def test_the_head_may_read_the_mean_of_the_tokens(bench, tiny_models, name):
    mean, own = (
        bench.run(bench.finetune("nli", tiny_models / name, epochs=1, pooling=pooling))
        for pooling in ("mean", "auto")
    )
    folder = mean.path / CHECKPOINT
    model = task_heads.load_with_head(folder).eval()
    ids = torch.arange(5, 17).reshape(2, 6)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder)(input_ids=ids, attention_mask=mask).last_hidden_state
        means = torch.stack([states[0].mean(0), states[1, :4].mean(0)])
        logits = model(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(logits, model.score(means), rtol=1e-4, atol=1e-5)
    assert not np.allclose(*(np.load(a.path / "logits.npz")["logits"] for a in (mean, own)))
    with pytest.raises(InputError, match="pooling is for tasks whose head reads whole texts"):
        bench.finetune("ner", tiny_models / name, pooling="mean")


def test_training_may_take_dev_too(bench, tiny_models):
    settings = {"train_on": ("train", "dev"), "keep": "last", "epochs": 1}
    artifact = bench.run(bench.finetune("nli", tiny_models / "bert", **settings))
    assert artifact.outputs["training_examples"] == 80
    assert artifact.outputs["also_in_train"]["dev"] == 1
    half = bench.run(bench.finetune("nli", tiny_models / "bert", fraction=50, **settings))
    assert half.outputs["training_examples"] == 40


def test_batches_may_be_in_random_order(bench, tiny_models):
    sorted_batches = bench.run(bench.finetune("nli", tiny_models / "bert"))
    random = bench.run(bench.finetune("nli", tiny_models / "bert", by_length=False))
    logits = [np.load(artifact.path / "logits.npz")["logits"] for artifact in (sorted_batches, random)]
    assert not np.allclose(*logits)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"train_on": ["train", "dev"]}, "cannot say which epoch is best then; set keep: last"),
        ({"train_on": ["dev"], "keep": "last", "threshold": "dev"}, "cannot say which threshold is best"),
        ({"train_on": []}, "train_on: "),
        ({"threshold": 1}, "threshold"),
        ({"threshold": "best"}, "threshold"),
        ({"schedule": "step"}, "schedule: input should be 'linear', 'constant' or 'cosine'"),
        ({"cycles": 0}, "cycles: "),
        ({"precision": "half"}, "precision: "),
    ],
)
def test_settings_that_contradict_each_other_are_refused(recipe, message):
    with pytest.raises(InputError, match=message):
        Recipe.parse(recipe, where="the recipe")


@pytest.mark.parametrize(
    ("kind", "recipe", "message"),
    [
        ("nli", {"threshold": 0.3}, "threshold is for multi-label tasks; 'small-nli' is pair-classification"),
        ("nli", {"stride": 4}, "stride is for tasks with one text"),
        ("ner", {"threshold": "dev"}, "threshold is for multi-label tasks"),
    ],
)
def test_settings_without_effect_are_refused(bench, tiny_models, kind, recipe, message):
    with pytest.raises(InputError, match=message):
        bench.finetune(kind, tiny_models / "bert", **recipe)


@pytest.mark.parametrize("stride", [0, 3, 9])
@pytest.mark.parametrize("name", ["bert", "gpt2", "biogpt"])
def test_windows_hold_every_word_and_share_the_stride(tiny_models, name, stride):
    encoder = Encoder(load_tokenizer(tiny_models / name), max_length=16)
    words = tuple(f"word{n} of" if n % 7 else "a" for n in range(40))
    windows = encoder.windows(Example("x", (words,), ()), stride)
    assert len(windows) > 2
    assert all(len(window.input_ids) <= 16 for window in windows)
    assert {word for window in windows for word in window.word_ids} - {SPECIAL} == set(range(40))
    for before, after in itertools.pairwise(windows):
        shared = {word for word in after.word_ids if word in set(before.word_ids)} - {SPECIAL}
        assert sum(len(encoder.subwords(words[word])) for word in shared) <= stride
    whole = Encoder(encoder.tokenizer, max_length=900)
    [one] = whole.windows(Example("x", (words,), ()), stride)
    assert one == whole.encode(Example("x", (words,), ()))


def test_a_word_longer_than_a_window_is_left_out_and_counted(tiny_models):
    encoder = Encoder(load_tokenizer(tiny_models / "bert"), max_length=8)
    windows = encoder.windows(Example("x", (("a", "x" * 60, "b"),), ()), 0)
    assert sum(window.truncated_words for window in windows) == 1
    assert {word for window in windows for word in window.word_ids} == {SPECIAL, 0, 2}
    with pytest.raises(InputError, match="stride 6 leaves no room for new tokens in windows of 6"):
        encoder.windows(Example("x", (("a",),), ()), 6)


def test_a_word_is_taken_from_the_window_that_has_most_around_it(tiny_models):
    encoder = Encoder(load_tokenizer(tiny_models / "bert"), max_length=12)
    words = tuple("abcdefghijklmnopqrstuvwxyz")
    windows = encoder.windows(Example("x", (words,), ()), 4)
    logits = [np.full((len(w.input_ids), 1), number) for number, w in enumerate(windows)]
    joined, rows = joined_windows(windows, logits)
    assert joined.word_ids == sorted(joined.word_ids)
    for word, number in zip(joined.word_ids, rows[:, 0], strict=True):
        rooms = [
            min(w.word_ids.index(word), len(w.word_ids) - 1 - w.word_ids.index(word))
            if word in w.word_ids
            else -1
            for w in windows
        ]
        assert rooms[int(number)] == max(rooms)


def test_a_tagger_with_windows_misses_no_word(bench, tiny_models):
    learnt = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=12, learning_rate=3e-3))
    cut = bench.run(bench.finetune("ner", learnt.id, fraction=0, max_length=12))
    windows = bench.run(bench.finetune("ner", learnt.id, fraction=0, max_length=12, stride=4))

    def score(artifact, metric):
        return next(r["value"] for r in read_rows(artifact) if (r["split"], r["metric"]) == ("test", metric))

    assert score(cut, "truncated_words") > 50
    assert score(windows, "truncated_words") == 0
    assert score(windows, "entity_recall") > score(cut, "entity_recall")
    trained = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=1, max_length=12, stride=4))
    assert trained.outputs["truncated_words"] == {"train": 0, "dev": 0, "test": 0}


def test_the_windows_of_a_text_vote_on_its_classes(reasons):
    whole = reasons(epochs=1)
    windows = reasons(epochs=1, max_length=8, stride=0)
    assert len(predictions(windows)) == len(predictions(whole)) == 20
    assert shares(windows).shape == (20, 2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {}),
        (("--train-on", "train", "--train-on", "dev", "--keep", "last"), {"train_on": ("dev", "train")}),
        (("--by-length", "false", "--schedule", "cosine"), {"by_length": False, "schedule": "cosine"}),
    ],
)
def test_the_settings_are_options_of_the_command(bench, tiny_models, arguments, expected):
    always = ("--task", bench.tasks["nli"], "--model", tiny_models / "bert", "--epochs", 1)
    result = CliRunner().invoke(main, ["finetune", *map(str, (*always, *arguments))])
    assert result.exit_code == 0, result.output
    settings = [artifact.settings["recipe"] for artifact in Store().list("finetune")]
    stored = Recipe.parse(settings[0], where="the artifact")
    assert expected.items() <= stored.model_dump().items()


@pytest.mark.parametrize(("typed", "threshold"), [("0.3", 0.3), ("dev", "dev")])
def test_a_threshold_that_is_typed_is_a_number_or_a_word(typed, threshold):
    assert Recipe.parse({"threshold": typed}, where="options").threshold == threshold


TYPES = ("Drug", "Gene")
TAGGED = {  # a word -> the type that it is of; "of" and "and" are of none
    "aspirin": "Drug",
    "heparin": "Drug",
    "kinase": "Gene",
    "of": "",
    "and": "",
}
SENTENCES = (
    "aspirin of kinase",
    "heparin aspirin and kinase",
    "of kinase kinase and heparin",
    "aspirin heparin of aspirin",
)


def _tags(sentence, touching=False):
    """Tags of the sentence: words of one type that touch are one entity, or each one of its own."""
    tags, before = [], ""
    for word in sentence.split():
        kind = TAGGED[word]
        goes_on = kind == before and not touching
        tags.append("O" if not kind else f"{'I' if goes_on else 'B'}-{kind}")
        before = kind
    return tags


@pytest.fixture
def tagging(bench, tiny_models, write_task, tmp_path):
    """tagging(touching, **recipe) -> the artifact of a fine-tuning on a small tagging task."""

    def run(touching=False, **recipe):
        for split, count in (("train", 96), ("dev", 16), ("test", 32)):
            rows = [
                {"id": f"{split}{n}", "words": sentence.split(), "tags": _tags(sentence, touching)}
                for n in range(count)
                for sentence in [SENTENCES[n % 4]]
            ]
            (tmp_path / f"{split}.data").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        values = {"learning_rate": 1e-2, "epochs": 12, "batch_size": 8, "max_length": 48} | recipe
        columns = {"id": "id", "words": "words", "label": "tags"}
        path = write_task("ner", "jsonl", columns, "class", TYPES, **values)
        path.write_text(path.read_text() + "max_overlap: 1\n")
        task = load_task(str(path))
        model = find_model(str(tiny_models / "bert"), bench.store)
        return bench.run(finetune_job(task, find_data(task), model, 100, 1, task.recipe))

    return run


def test_a_head_of_types_has_a_class_per_type_and_predicts_entities_with_borders(tagging):
    iob2, types = tagging(), tagging(tags="types")
    config = json.loads((types.path / CHECKPOINT / "config.json").read_text())
    assert list(config["id2label"].values()) == ["O", *TYPES]
    config = json.loads((iob2.path / CHECKPOINT / "config.json").read_text())
    assert list(config["id2label"].values()) == ["O", "B-Drug", "I-Drug", "B-Gene", "I-Gene"]
    assert types.id != iob2.id
    scores = {
        name: {r["metric"]: r["value"] for r in read_rows(a) if r["split"] == "test"}
        for name, a in (("iob2", iob2), ("types", types))
    }
    assert scores["types"].keys() == scores["iob2"].keys()
    assert scores["types"]["entity_f1"] > 0.95
    assert scores["types"]["token_macro_f1"] > 0.95
    predicted = {tag for row in predictions(types) for tag in row}
    assert predicted == {"O", "B-Drug", "I-Drug", "B-Gene", "I-Gene"}
    example = Example("x", (("heparin", "aspirin", "of", "kinase"),), ())
    [row] = predict(types, types.path / CHECKPOINT, [example], None)
    assert [entity["text"] for entity in row["entities"]] == ["heparin aspirin", "kinase"]


def test_touching_entities_of_one_type_are_missed_by_a_head_of_types(tagging):
    """The gold entities are the same for both heads: what a head of types cannot say counts against it."""
    artifact = tagging(touching=True, tags="types")
    rows = {r["metric"]: r["value"] for r in read_rows(artifact) if r["split"] == "test"}
    assert rows["token_macro_f1"] > 0.95
    gold = [_tags(SENTENCES[n % 4], touching=True) for n in range(4)]
    right = sum(tag.startswith("B-") for tags in gold for tag in tags)
    touching = sum(
        tag == before for tags in gold for before, tag in itertools.pairwise(tags) if tag.startswith("B-")
    )
    assert rows["entity_recall"] < 1 - touching / right


def test_tags_of_a_task_without_tags_are_refused(reasons):
    with pytest.raises(InputError, match="tags is for tagging tasks; 'multi-label' is multi-label"):
        reasons(tags="types")
