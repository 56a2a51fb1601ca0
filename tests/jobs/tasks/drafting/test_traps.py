"""`task init` on files with a trap: a task file that reads them, or one line that says what is wrong."""

import json

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data

TEXTS = [f"The patient number {n} had a {'mild' if n % 2 else 'severe'} headache" for n in range(30)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments):
    return CliRunner().invoke(main, ["task", "init", *map(str, arguments), "--out", "own.yaml"])


def drafted(*arguments):
    """The task of a draft, and the examples that it reads from the training file."""
    result = init(*arguments)
    assert result.exit_code == 0, result.output + result.stderr
    task = load_task("own.yaml")
    return task, find_data(task).read("train")


def lines(delimiter, rows):
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


def labels_of(examples):
    return {example.label for example in examples}


def test_scores_with_a_decimal_comma_are_numbers(here):
    rows = [("id", "sentence1", "sentence2", "score")]
    rows += [(n, text, f"{text} again", f"{n % 5},{n % 10}") for n, text in enumerate(TEXTS)]
    (here / "train.csv").write_text(lines(";", rows))
    task, examples = drafted("train.csv")
    assert (task.type, task.data.decimal, task.data.delimiter) == ("similarity", "comma", "semicolon")
    assert {1.1, 3.8} <= labels_of(examples)


def test_classes_may_be_joined_by_a_semicolon(here):
    joined = ["fever", "cough; fever", "cough", "rash;cough", ""]
    rows = [("text", "findings"), *((text, joined[n % 5]) for n, text in enumerate(TEXTS))]
    (here / "train.tsv").write_text(lines("\t", rows))
    task, examples = drafted("train.tsv")
    assert (task.type, task.data.classes_joined_by) == ("multi-label", "semicolon")
    assert set(task.labels) == {"fever", "cough", "rash"}
    assert ("cough", "fever") in labels_of(examples)


def test_one_class_with_a_comma_in_its_name_is_one_class(here):
    rows = [("text", "label"), *((text, ("pain, chronic", "none")[n % 2]) for n, text in enumerate(TEXTS))]
    (here / "train.tsv").write_text(lines("\t", rows))
    assert drafted("train.tsv")[0].type == "classification"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_that_a_spreadsheet_put_around_cells_are_taken_off(here, end):
    rows = [("text", "label"), *((f'"He said ""{text}"""', "ab"[n % 2]) for n, text in enumerate(TEXTS))]
    (here / "train.tsv").write_bytes(lines("\t", rows).replace("\n", end).encode())
    task, examples = drafted("train.tsv")
    assert task.data.quoting == "csv"
    assert examples[0].texts[0][:3] == ("He", "said", '"The')


def test_quotes_that_are_part_of_a_text_stay(here):
    rows = [("text", "label"), *((f'"{text}" and "no more"', "ab"[n % 2]) for n, text in enumerate(TEXTS))]
    (here / "train.tsv").write_text(lines("\t", rows))
    task, examples = drafted("train.tsv")
    assert task.data.quoting == "none"
    assert examples[0].texts[0][0] == '"The'


def test_classes_as_numbers_with_a_point_are_classes(here):
    rows = [("text", "label"), *((text, f"{n % 2}.0") for n, text in enumerate(TEXTS))]
    (here / "train.tsv").write_text(lines("\t", rows))
    task, examples = drafted("train.tsv")
    assert (task.type, labels_of(examples)) == ("classification", {"0.0", "1.0"})
    rows = [{"text": text, "label": float(n % 2)} for n, text in enumerate(TEXTS)]
    (here / "floats").mkdir()
    (here / "floats" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "own.yaml").unlink()
    task, examples = drafted("floats/train.jsonl")
    assert (task.type, labels_of(examples)) == ("classification", {"0", "1"})


def test_values_in_an_object_are_columns_too(here):
    rows = [{"id": n, "note": {"text": t, "seen": {"y": "ab"[n % 2]}}} for n, t in enumerate(TEXTS)]
    (here / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task, examples = drafted("train.jsonl")
    assert task.data.columns == {"id": "id", "text_a": "note.text", "label": "note.seen.y"}
    assert labels_of(examples) == {"a", "b"}


@pytest.mark.parametrize(("first", "word"), [("\n", "Zinol"), ("", "<"), ("", "["), ("\n\n", "{")])
def test_conll_may_begin_with_a_blank_line_or_a_bracket(here, first, word):
    sentences = (f"{word} O\nZedol{n} B-drug\n\n" for n in range(10))
    (here / "train.txt").write_text(first + "".join(sentences))
    task, examples = drafted("train.txt")
    assert (task.type, task.data.format, len(examples)) == ("ner", "conll", 6)  # the others are held out


def test_what_excel_calls_unicode_text_is_read(here):
    rows = [("Befund", "Grad"), *((f"{text}, naïve", ("ja", "nein")[n % 2]) for n, text in enumerate(TEXTS))]
    (here / "train.txt").write_bytes(lines("\t", rows).replace("\n", "\r\n").encode("utf-16"))
    task, examples = drafted("train.txt")
    assert (task.data.encoding, set(task.labels)) == ("utf-16", {"ja", "nein"})
    assert examples[0].texts[0][-1] == "naïve"


def test_classes_of_the_hub_and_a_test_whose_labels_are_hidden(here):
    import datasets

    classes = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    for split in ("train", "test"):
        values = [n % 2 if split == "train" else -1 for n in range(len(TEXTS))]
        made = datasets.Dataset.from_dict({"text": TEXTS, "label": values}, features=classes)
        made.to_parquet(f"{split}.parquet")
    task, _ = drafted("train.parquet", "test.parquet")
    assert (set(task.labels), task.data.unlabelled) == ({"no", "yes"}, ("test",))


def test_mentions_in_several_parts_are_counted_aloud(here, caplog):
    (here / "notes").mkdir()
    for n in range(10):
        (here / "notes" / f"{n}.txt").write_text(f"Zinol and Zedol acids {n} times.")
        parts = "T1\tDrug 0 5;16 21\tZinol acids\nT2\tDrug 10 15\tZedol\n"
        (here / "notes" / f"{n}.ann").write_text(parts)
    task, examples = drafted("notes")
    assert task.labels == ("Drug",)
    assert [tag for tag in examples[0].label if tag != "O"] == ["B-Drug"]
    assert "10 mentions in several parts are left out" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", lines(",", [("id", "text", "label")]), "train.csv: a header and no rows"),
        ("train.tsv", lines("\t", [("text", "label")]), "train.tsv: a header and no rows"),
        ("train.jsonl", "\n\n", "train.jsonl: is empty"),
        ("train.txt", "-DOCSTART- O\n\nZinol B-drug\n\nZedol B-drug\n", "train.txt: 1 document in all"),
        ("train.json", "[]", "train.json: no list of objects in it"),
        (
            "train.tsv",
            lines("\t", [("text", "label"), *((text, "yes") for text in TEXTS)]),
            "label: every row has the same value, 'yes': a task needs two classes",
        ),
        (
            "train.xlsx",
            b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xd0",
            "is an Excel workbook; save the sheet as CSV",
        ),
        ("train.csv", "a,b\n1,2\n3\n".encode("utf-16-le"), "holds a NUL"),
    ],
    ids=[
        "header",
        "header-tsv",
        "blank",
        "one-document",
        "no-list",
        "one-class",
        "workbook",
        "utf-16-without-mark",
    ],
)
def test_what_is_no_corpus_is_said_in_one_line(here, name, content, message):
    (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    result = init(name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output + result.stderr
    assert message in result.stderr
    assert not (here / "own.yaml").exists()


def test_a_parquet_file_without_rows_is_said_in_one_line(here):
    import pandas as pd

    pd.DataFrame({"text": pd.Series([], dtype=str), "label": []}).to_parquet("train.parquet")
    result = init("train.parquet")
    assert (result.exit_code, "train.parquet: has no rows" in result.stderr) == (2, True), result.stderr
