import json
import random

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from microtome.jobs.cli import main
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.models import training
from microtome.jobs.models.source import CHECKPOINT, find_model
from microtome.jobs.predict import entities, read_texts
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.jobs.tasks.types import TASK_TYPES


def ask(*arguments):
    result = CliRunner().invoke(main, ("predict", *map(str, arguments)))
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_entities_of_strict_iob2_with_characters_or_words():
    text = "IL-2 (p53) acts."
    tags = ["B-DNA", "I-DNA", "I-DNA", "O", "B-protein", "O", "I-protein", "O"]
    words = ["IL", "-", "2", "(", "p53", ")", "acts", "."]
    assert list(entities(tags, words, text)) == [
        {"type": "DNA", "start": 0, "end": 4, "text": "IL-2"},
        {"type": "protein", "start": 6, "end": 9, "text": "p53"},
    ]
    assert [e["words"] for e in entities(tags, words, None)] == [[0, 3], [4, 5]]


def test_tagging_plain_text_gives_offsets_into_it(bench, tiny_models, tmp_path):
    model = bench.run(bench.finetune("ner", tiny_models / "bert"))
    lines = ["Aspirin  treats (severe) headache.", "", "No more."]
    (tmp_path / "in.txt").write_text("\n".join(lines))
    rows = ask("--checkpoint", model.id, "--input", tmp_path / "in.txt")
    assert [row["id"] for row in rows] == ["1", "3"]
    for row in rows:
        for entity in row["entities"]:
            assert lines[int(row["id"]) - 1][entity["start"] : entity["end"]] == entity["text"]


def test_pairs_as_text_and_as_json_lines_get_the_same_answer(bench, tiny_models, tmp_path):
    model = bench.run(bench.finetune("nli", tiny_models / "gpt2"))
    (tmp_path / "in.txt").write_text("the drug helps\tit works\n")
    (tmp_path / "in.jsonl").write_text('{"id": "x", "text_a": "the drug helps", "text_b": "it works"}\n')
    [plain] = ask("--checkpoint", model.id, "--input", tmp_path / "in.txt")
    [row] = ask("--checkpoint", model.id, "--input", tmp_path / "in.jsonl")
    assert row == plain | {"id": "x"}
    assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)


ONE = {"id": "k", "text_a": "a", "label": "y"}
TWO = ONE | {"text_b": "b"}
MARKED = {"id": "index", "text_a": "sentence", "label": "label"}
KINDS = {  # format of the task's data, its columns and target, labels
    "classification": ("jsonl", ONE, "class", ("good", "bad", "so-so")),
    "multi-label": ("jsonl", ONE, "classes", ("pain", "fever")),
    "multi-label-documents": ("jsonl", ONE, "classes", ("pain", "fever")),
    "relation": ("blue-relation", MARKED, "class", ("none", "treats")),
    "similarity": ("jsonl", TWO, "number", ("score",)),
    "question-answering": ("jsonl", TWO, "class", ("yes", "no", "maybe")),
}
RECIPE = {"learning_rate": 3e-3, "epochs": 1, "batch_size": 8, "max_length": 60}


def texts_of(kind, count, seed=0):
    """Lists of one or two texts: of all lengths and in no order, with marks that stand at words."""
    rng = random.Random(seed)
    words = "patient (dose), fever. headache's drug-like no? 5% was given;".split()
    for number in range(count):
        text = " ".join([f"{seed}{number}", *rng.choices(words, k=rng.randrange(1, 8))])
        if kind == "relation":
            text = f"In ({text}) @DRUG$, then @DISEASE$."
        yield [text, " ".join(rng.choices(words, k=rng.randrange(1, 6)))][: TASK_TYPES[kind].texts]


def own_rows(kind, rows):
    """The same texts as the task's data files have them."""
    _, _, target, labels = KINDS[kind]
    if kind == "relation":
        lines = [f"{i}\t{text}\t{labels[i % 2]}" for i, [text] in enumerate(rows, start=1)]
        return "\n".join(["index\tsentence\tlabel", *lines])
    label = {"class": lambda i: labels[i % len(labels)], "classes": lambda i: ",".join(labels[: i % 3])}
    answer = label.get(target, lambda i: i % 5 / 2)
    lines = [
        {"k": i, **dict(zip("ab", row, strict=False)), "y": answer(i)} for i, row in enumerate(rows, start=1)
    ]
    return "\n".join(map(json.dumps, lines))


@pytest.fixture
def trained(bench, tmp_path, write_task):
    """trained(kind, model) -> a checkpoint of a task of this type and the task's file."""

    def make(kind, model):
        for seed, split in enumerate(("train", "dev", "test"), start=1):
            (tmp_path / f"{split}.data").write_text(own_rows(kind, texts_of(kind, 24, seed)))
        path = write_task(kind, *KINDS[kind], **RECIPE)
        task = load_task(str(path))
        job = finetune_job(task, find_data(task), find_model(str(model), bench.store), 100, 1, task.recipe)
        return bench.run(job), path

    return make


def test_every_type_is_asked():
    assert set(KINDS) | {"ner", "pair-classification"} == set(TASK_TYPES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["bert", "gpt2", "biogpt"])
def test_text_json_lines_and_the_tasks_own_format_get_the_same_answers(
    trained, tiny_models, tmp_path, monkeypatch, kind, model
):
    monkeypatch.setattr(training, "EVALUATION_TOKENS", 100)  # several batches
    made, task = trained(kind, tiny_models / model)
    rows = list(texts_of(kind, 14))
    (tmp_path / "in.txt").write_text("".join("\t".join(row) + "\r\n" for row in rows), newline="")
    names = ["text"] if len(rows[0]) == 1 else ["text_a", "text_b"]
    lines = [
        json.dumps(dict(zip(names, row, strict=True)) | {"id": i}) for i, row in enumerate(rows, start=1)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    (tmp_path / "in.own").write_text(own_rows(kind, rows))
    found = ask("--checkpoint", made.id, "--input", tmp_path / "in.own", "--task", task)
    assert [row["id"] for row in found] == [str(i) for i in range(1, 15)]
    for name in ("in.txt", "in.jsonl"):
        assert ask("--checkpoint", made.id, "--input", tmp_path / name) == found
    checked_labels(kind, found)


def checked_labels(kind, rows):
    labels = KINDS[kind][3]
    for row in rows:
        chances = row.get("probabilities", {})
        if kind == "similarity":
            assert set(row) == {"id", "label"}
            assert isinstance(row["label"], float)
            continue
        assert list(chances) == list(labels)
        if kind.startswith("multi-label"):
            assert row["label"] == [name for name in labels if chances[name] > 0.5]
        else:
            assert row["label"] == max(chances, key=chances.get)
            assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
    assert len({json.dumps([row["label"], row.get("probabilities")]) for row in rows}) > len(rows) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_answers_come_in_the_order_of_the_texts_and_are_those_of_the_model(
    trained, tiny_models, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(training, "EVALUATION_TOKENS", 100)
    made, _ = trained(kind, tiny_models / "bert")
    rows = list(texts_of(kind, 14))
    (tmp_path / "in.txt").write_text("".join("\t".join(row) + "\n" for row in rows))
    tokenizer = AutoTokenizer.from_pretrained(made.path / CHECKPOINT)
    model = AutoModelForSequenceClassification.from_pretrained(made.path / CHECKPOINT).eval()
    for row, found in zip(rows, ask("--checkpoint", made.id, "--input", tmp_path / "in.txt"), strict=True):
        with torch.no_grad():
            logits = model(**tokenizer(*row, return_tensors="pt")).logits[0]
        if kind == "similarity":
            assert found["label"] == pytest.approx(logits.item(), abs=1e-4)
            continue
        chances = logits.sigmoid() if kind.startswith("multi-label") else logits.softmax(-1)
        assert list(found["probabilities"].values()) == pytest.approx(chances.tolist(), abs=1e-4)


def test_answers_go_to_a_file(trained, tiny_models, tmp_path):
    made, _ = trained("similarity", tiny_models / "gpt2")
    (tmp_path / "in.txt").write_text("one\ttwo\n")
    arguments = ["predict", "--checkpoint", made.id, "--input", str(tmp_path / "in.txt"), "--out"]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "out.jsonl")])
    assert result.output == f"wrote 1 rows: {tmp_path / 'out.jsonl'}\n"
    [row] = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    assert row == ask("--checkpoint", made.id, "--input", tmp_path / "in.txt")[0]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "in.txt" / "out.jsonl")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"cannot write {tmp_path / 'in.txt' / 'out.jsonl'}: Not a directory" in result.stderr


def test_labels_of_the_input_are_not_looked_at_but_the_number_of_texts_is(trained, tiny_models, tmp_path):
    made, task = trained("classification", tiny_models / "bert")
    (tmp_path / "in.own").write_text('{"k": "x", "a": "patient was given", "y": "never seen"}\n')
    [row] = ask("--checkpoint", made.id, "--input", tmp_path / "in.own", "--task", task)
    assert (row["id"], row["label"] in KINDS["classification"][3]) == ("x", True)
    two = tmp_path / "two.yaml"
    two.write_text(task.read_text().replace("text_a: a\n", "text_a: a\n    text_b: a\n"))
    arguments = ("predict", "--checkpoint", made.id, "--input", str(tmp_path / "in.own"), "--task", str(two))
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "example x has 2 text(s), not the 1 of classification" in result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_the_input_may_be_absent(trained, tiny_models, tmp_path, kind):
    made, task = trained(kind, tiny_models / "bert")
    whole = own_rows(kind, list(texts_of(kind, 5)))
    (tmp_path / "whole.own").write_text(whole)
    lines = whole.splitlines()
    if kind == "relation":
        bare = [line.rpartition("\t")[0] for line in lines]
    else:
        bare = [json.dumps({k: v for k, v in json.loads(line).items() if k != "y"}) for line in lines]
    (tmp_path / "bare.own").write_text("\n".join(bare))
    wanted = ask("--checkpoint", made.id, "--input", tmp_path / "whole.own", "--task", task)
    assert len(wanted) == 5
    assert ask("--checkpoint", made.id, "--input", tmp_path / "bare.own", "--task", task) == wanted
    (tmp_path / "bare.own").write_text("")
    arguments = ("--checkpoint", made.id, "--input", str(tmp_path / "bare.own"), "--task", str(task))
    result = CliRunner().invoke(main, ("predict", *arguments))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "bare.own: no text" in result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(@GENE$)-like @DRUG$.", "( @GENE$ )-like @DRUG$ ."),
        ("a @B$, @C$ and @D$.", "a @B$ , @C$ and @D$ ."),
        ("<<x>> of [[y]].", "<< x >> of [[ y ]] ."),
        ("[E1]x[/E1] of [E2]y z[/E2].", "[E1] x [/E1] of [E2] y z [/E2] ."),
        ("<e2>x</e2>-<e1>y</e1>", "<e2> x </e2> - <e1> y </e1>"),
        ("x[1] << 3", "x[1] << 3"),
    ],
)
def test_marks_of_a_relation_are_parted_as_the_readers_part_them(tmp_path, text, words):
    (tmp_path / "in.txt").write_text(f"{text}\n")
    [example], _ = read_texts(tmp_path / "in.txt", TASK_TYPES["relation"], ["none", "treats"])
    assert " ".join(example.texts[0]) == words


def test_one_text_may_hold_tabs_and_the_line_ends_of_other_programs(tmp_path):
    (tmp_path / "in.txt").write_bytes("a\tb c\u2028d\x0c\r\n\r\n(@GENE$)-like @DRUG$.\n".encode())
    examples, texts = read_texts(tmp_path / "in.txt", TASK_TYPES["relation"], ["none", "treats"])
    assert [(e.id, e.texts[0]) for e in examples] == [
        ("1", ("a", "b", "c", "d")),
        ("3", ("(", "@GENE$", ")-like", "@DRUG$", ".")),
    ]
    assert texts[0] == "a\tb c\u2028d\x0c"
    tagged, _ = read_texts(tmp_path / "in.txt", TASK_TYPES["ner"], ["Gene"])
    assert tagged[0].label == ("O",) * 4


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("in.txt", "alone\n", "in.txt:1: expected two texts parted by a tab"),
        ("in.txt", "one\ttwo\tthree\n", "in.txt:1: expected two texts parted by a tab"),
        ("in.txt", "one\ttwo\nthree\t \n", "in.txt:2: expected two texts parted by a tab"),
        ("in.txt", "\n", "no text"),
        ("in.jsonl", '{"text_a": "x"}\n', "in.jsonl:1: no 'text_b'"),
        ("in.jsonl", "x\n", "in.jsonl:1: not JSON (Expecting value)"),
        ("in.jsonl", "[1]\n", "in.jsonl:1: expected an object, found list"),
        ("in.jsonl", '{"id": [1], "text_a": "x", "text_b": "y"}\n', "in.jsonl:1: expected an id, found list"),
        (
            "in.jsonl",
            '{"id": 1, "text_a": "x", "text_b": "y"}\n' * 2,
            "in.jsonl:2: the id '1' is there already",
        ),
        ("in.jsonl", '{"text_a": "\\ud800", "text_b": "y"}\n', "in.jsonl:1: half a character"),
        ("in.txt", "one\tt\0wo\n", "in.txt:1: holds a NUL byte"),
        ("in.txt", "one\ttwo\nthr\ree\tfour\n", "in.txt:2: a carriage return inside a line"),
        (
            "in.jsonl",
            '{"text_a": "x", "text_b": null}\n',
            "in.jsonl:1: expected a text as 'text_b', found None",
        ),
        (
            "in.jsonl",
            '\n{"text_a": " ", "text_b": "x"}\n',
            "in.jsonl:2: expected a text as 'text_a', found ' '",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(bench, tiny_models, tmp_path, name, text, said):
    model = bench.run(bench.finetune("nli", tiny_models / "bert", fraction=0))
    (tmp_path / name).write_text(text)
    arguments = ("predict", "--checkpoint", model.id, "--input", str(tmp_path / name))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
