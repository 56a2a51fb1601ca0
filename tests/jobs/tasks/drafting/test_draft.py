"""`task init` on files as people have them, and on corpora of the project as if they were unknown."""

import json

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.check import label_counts
from microtome.jobs.tasks.source import find_data
from microtome.store.errors import InputError

SENTENCES = [f"The patient number {n} had a {'mild' if n % 2 else 'severe'} headache" for n in range(30)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments):
    return CliRunner().invoke(main, ["task", "init", *map(str, arguments)])


def drafted(*arguments):
    """The task of a draft, which `task check` has read."""
    result = init(*arguments, "--out", "own.yaml")
    assert result.exit_code == 0, result.output
    checked = CliRunner().invoke(main, ["task", "check", "own.yaml"])
    assert checked.exit_code == 0, checked.output + checked.stderr
    return load_task("own.yaml")


def table(delimiter, rows, header=None):
    return "".join(delimiter.join(map(str, row)) + "\n" for row in ([header] if header else []) + rows)


ROWS = [(n, text, "yes" if n % 3 else "no") for n, text in enumerate(SENTENCES)]


@pytest.mark.parametrize(
    ("delimiter", "end", "data"),
    [
        ("\t", "\n", {"format": "tsv"}),
        (",", "\r\n", {"format": "csv"}),
        (";", "\n", {"format": "csv", "delimiter": "semicolon"}),
        ("|", "\n", {"format": "csv", "delimiter": "pipe"}),
    ],
)
def test_a_table_becomes_a_classification(here, delimiter, end, data):
    text = "\ufeff" + table(delimiter, ROWS, ("id", "report", "severity"))
    (here / "all.txt").write_bytes(text.replace("\n", end).encode())
    task = drafted("all.txt")
    assert (task.type, set(task.labels)) == ("classification", {"yes", "no"})
    assert task.data.columns == {"id": "id", "text_a": "report", "label": "severity"}
    assert {key: getattr(task.data, key) for key in data} == data
    assert task.data.hold_out == {"dev": 0.2, "test": 0.2}


def test_a_table_without_a_header_has_numbered_columns(here):
    (here / "train.csv").write_text(table(",", ROWS))
    task = drafted("train.csv", "--type", "classification")
    assert task.data.header is False
    assert task.data.columns == {"text_a": 1, "label": 2}


def test_quoted_cells_and_an_old_encoding(here):
    rows = [(n, f'"na\u00efve, said ""{text}"""', label) for n, text, label in ROWS]
    (here / "train.csv").write_bytes(table(",", rows, ("id", "text", "label")).encode("cp1252"))
    task = drafted("train.csv")
    assert task.data.encoding == "cp1252"
    assert find_data(task).read("train")[0].texts[0][0] == "na\u00efve,"


def test_pairs_differ_by_split_and_test_has_no_labels(here):
    rows = [(text, f"{text} again", (n % 2 and "yes") or "no") for n, text in enumerate(SENTENCES)]
    (here / "c").mkdir()
    (here / "c" / "train.tsv").write_text(table("\t", rows, ("premise", "hypothesis", "label")))
    (here / "c" / "valid.tsv").write_text(table("\t", rows, ("premise", "hypothesis", "entailment")))
    (here / "c" / "test.tsv").write_text(table("\t", [row[:2] for row in rows], ("premise", "hypothesis")))
    task = drafted("c")
    assert task.type == "pair-classification"
    assert task.data.split_columns == {"dev": {"label": "entailment"}}
    assert task.data.unlabelled == ("test",)


def test_relations_are_seen_by_their_marks(here):
    rows = [(f"@GENE$ binds @DRUG$ in case number {n}", "none" if n % 2 else "binds") for n in range(30)]
    (here / "train.tsv").write_text(table("\t", rows, ("sentence", "label")))
    task = drafted("train.tsv")
    assert (task.type, task.data.marks, task.labels) == ("relation", "masks", ("none", "binds"))


def test_json_lines_of_words_are_tagged(here):
    row = {"tokens": ["Zinol", "works", "in", "mice"], "tags": ["S-x", "O", "O", "S-y"]}
    rows = [row | {"id": n, "tokens": [*row["tokens"][:3], f"mice{n}"]} for n in range(20)]
    (here / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = drafted("train.jsonl")
    assert (task.type, task.data.scheme, set(task.labels)) == ("ner", "iobes", {"x", "y"})


def test_parquet_of_the_hub_has_its_classes_by_name(here):
    import datasets

    tags = datasets.List(datasets.ClassLabel(names=["O", "B-x", "E-x", "S-y"]))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": tags})
    rows = {"tokens": [["Zinol", "acid", "eased", f"case{n}", "pain"] for n in range(20)]}
    rows |= {"ner_tags": [[1, 2, 0, 0, 3]] * 20}
    datasets.Dataset.from_dict(rows, features=features).to_parquet("train.parquet")
    task = drafted("train.parquet")
    assert (task.data.format, task.data.scheme, set(task.labels)) == ("parquet", "iobes", {"x", "y"})


def test_a_folder_of_everything_is_no_corpus(here, monkeypatch):
    monkeypatch.setattr("microtome.jobs.tasks.drafting.sniffing.MOST_FILES", 3)
    (here / "all").mkdir()
    for n in range(4):
        (here / "all" / f"{n}.xml").write_text("<a/>")
    result = init("all", "--out", "own.yaml")
    assert (result.exit_code, "holds more than 3 files" in result.stderr) == (2, True)


CONLL = {
    "iob2": "Zinol NN B-cell-line\nworks VB O\n\nZedol NN B-DNA\n\n",
    "iob1": "Zinol NN I-cell-line\nworks VB O\n\nZedol NN I-DNA\n\n",
    "bilou": "Zinol NN U-cell-line\nworks VB O\n\nZedol NN U-DNA\n\n",
}


@pytest.mark.parametrize("scheme", CONLL)
@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_conll_of_every_scheme(here, scheme, delimiter):
    sentences = (CONLL[scheme].replace("works", f"works{n}").replace("Zedol", f"Zedol{n}") for n in range(10))
    (here / "train.conll").write_text("".join(sentences).replace(" ", delimiter))
    task = drafted("train.conll")
    assert (task.type, task.data.scheme, set(task.labels)) == ("ner", scheme, {"cell-line", "DNA"})


def test_sixteen_types_of_entities(here):
    text = "".join(f"w{n}\tB-type{n}\nx\tO\n\n" for n in range(16))
    (here / "train.tsv").write_text(text * 3)
    assert len(drafted("train.tsv").labels) == 16


def test_brat_is_entities_or_relations(here):
    for n in range(10):
        (here / "notes").mkdir(exist_ok=True)
        (here / "notes" / f"{n}.txt").write_text(f"Zinol and Zedol block ABC1 {n} times.")
        lines = (
            "T1\tDrug 0 5\tZinol\nT2\tDrug 10 15\tZedol\nT3\tGene 22 26\tABC1\nR1\tblocks Arg1:T1 Arg2:T3\n"
        )
        (here / "notes" / f"{n}.ann").write_text(lines)
    assert set(drafted("notes").labels) == {"Drug", "Gene"}
    (here / "own.yaml").unlink()
    task = drafted("notes", "--type", "relation")
    assert (task.labels, task.data.pairs) == (("false", "blocks"), (("Drug", "Gene"),))


def test_xml_is_rows_of_the_element_that_is_there_most_often(here):
    notes = "".join(f"<note id='{n}' y='{y}'><text>{text}</text></note>" for n, text, y in ROWS)
    (here / "train.xml").write_text(f"<notes>{notes}</notes>")
    task = drafted("train.xml")
    assert task.data.record == ".//note"
    assert task.data.columns == {"id": "@id", "text_a": "text", "label": "@y"}


def test_what_cannot_be_seen_is_a_question_that_task_check_repeats(here):
    rows = [(text, (n % 2 and "a") or "b", (n % 3 and "c") or "d") for n, text in enumerate(SENTENCES)]
    (here / "train.tsv").write_text(table("\t", rows, ("report", "first", "second")))
    result = init("train.tsv", "--out", "own.yaml")
    assert "data.columns.label: QUESTION: which column? first or second" in result.output
    with pytest.raises(InputError, match=r"still to be answered: labels.0 \(line \d+\), data.columns.label"):
        load_task("own.yaml")
    (here / "own.yaml").unlink()
    assert drafted("train.tsv", "--column", "label=second").data.columns["label"] == "second"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.tsv",), "no file or folder nowhere.tsv"),
        (("a.txt", "b.txt"), "which file to train on is not clear from a.txt, b.txt; say it: train=FILE"),
        (("train=a.txt", "b.txt"), "which split b.txt is is not clear; say it, such as test=b.txt"),
        (("a.txt",), "a.txt: looks like no table"),
        (("empty.txt",), "empty.txt: is empty"),
        (("train=a.txt", "--column", "label"), "expected ROLE=NAME"),
    ],
)
def test_files_that_say_nothing_are_refused_in_one_line(here, arguments, message):
    (here / "a.txt").write_text("just some text\nand some more\n")
    (here / "b.txt").write_text("just some text\n")
    (here / "empty.txt").write_text("\n")
    result = init(*arguments, "--out", "own.yaml")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (here / "own.yaml").exists()


REAL = {
    "jnlpba": ["train.tsv", "devel.tsv", "test.tsv"],
    "ddi2013": ["Train", "Test/Test for DDI Extraction task"],
    "sick": ["SICK_train.txt", "SICK_trial.txt", "SICK_test_annotated.txt"],
}


@pytest.mark.parametrize(
    "name", ["sick", *(pytest.param(n, marks=pytest.mark.thorough) for n in ("jnlpba", "ddi2013"))]
)
def test_corpora_as_if_unknown_have_the_counts_of_the_project(here, corpora, monkeypatch, name):
    task = drafted(*(corpora / name / file for file in REAL[name]))
    ours = find_data(task)
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    published = load_task(name)
    theirs = find_data(published)
    for split in ("train", "dev", "test"):
        counts = label_counts(ours.read(split))
        renamed = {published.data.label_map.get(label, label): count for label, count in counts.items()}
        assert renamed == label_counts(theirs.read(split)), split
    assert task.type == published.type
