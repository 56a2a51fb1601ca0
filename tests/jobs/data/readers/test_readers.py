import gzip
import json

import datasets
import pytest

from microtome.jobs.data.readers import read_examples
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.tasks import load_task, task_names
from microtome.jobs.tasks.source import find_data
from microtome.store.errors import InputError


def read(path, form, **spec):
    return read_examples(path, DataSpec(format=form, files={"test": path.name}, **spec))


def write(path, text):
    path.write_bytes(text.encode())
    return path


CONLL = '-DOCSTART-\tO\n\nIL-2\tB-DNA\ngene\tI-DNA\n"\tO\n\n\n###MEDLINE:95\n\nx\tB-RNA\n'
PAIRS = {"id": "pairID", "text_a": "sentence1", "text_b": "sentence2", "label": "gold_label"}


def test_conll_sentences_without_document_marks(tmp_path):
    plain = read(write(tmp_path / "a.tsv", CONLL), "conll")
    assert [e.texts[0] for e in plain] == [("IL-2", "gene", '"'), ("x",)]
    assert [e.label for e in plain] == [("B-DNA", "I-DNA", "O"), ("B-RNA",)]
    assert [e.id for e in plain] == ["0", "1"]
    (tmp_path / "a.iob2.gz").write_bytes(gzip.compress(CONLL.encode()))
    assert read(tmp_path / "a.iob2.gz", "conll") == plain
    assert read(write(tmp_path / "crlf.tsv", CONLL.replace("\n", "\r\n")), "conll") == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nlonely\n", r":2: expected 'word<TAB>tag', found 'lonely'"),
        ("a\tB-x\nb\tI-y\n", r":2: 'I-y' continues no entity \(the tag before is 'B-x'\)"),
        ("a\tI-x\n", r":1: 'I-x' continues no entity"),
        ("a\tB\n", r":1: 'B' is no IOB2 tag"),
        ("a\tO\nb\tX-y\n", r":2: 'X-y' is no IOB2 tag"),
    ],
)
def test_a_malformed_conll_line_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "bad.tsv", text), "conll")


def test_json_lines(tmp_path):
    row = {"pairID": "7", "sentence1": "A b", "sentence2": "c\u00a0d", "gold_label": "neutral", "more": 1}
    path = write(tmp_path / "a.jsonl", json.dumps(row) + "\n\n")
    (found,) = read(path, "jsonl", columns=PAIRS)
    assert (found.id, found.texts, found.label) == ("7", (("A", "b"), ("c", "d")), "neutral")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"pairID": 1, "sentence1": "a", "sentence2": "b"}', "bad.jsonl:1 'gold_label'"),
        ('{"pairID": 1, "sentence1": "a", "sentence2": "b", "gold_label": null}', ":1: no label"),
        (
            '{"pairID": 1, "sentence1": "a", "gold_label": "x"}',
            "unknown column in .*bad.jsonl:1 'sentence2'; did you mean 'sentence1'",
        ),
        ('\n{"sentence1": ', ":2: not JSON"),
        ("[1]", ":1: expected an object, found list"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "bad.jsonl", text), "jsonl", columns=PAIRS)


def test_tsv_with_quotes_crlf_and_mapped_labels(tmp_path):
    text = 'pair_ID\tA\tB\tjudgment\r\n1\tsay "no\tb c\tNEUTRAL\r\n'
    columns = {"id": "pair_ID", "text_a": "A", "text_b": "B", "label": "judgment"}
    path = write(tmp_path / "a.txt", text)
    (found,) = read(path, "tsv", columns=columns, label_map={"NEUTRAL": "neutral"})
    assert (found.id, found.texts, found.label) == ("1", (("say", '"no'), ("b", "c")), "neutral")
    with pytest.raises(InputError, match=":2: 3 columns, the header has 4"):
        read(write(tmp_path / "b.txt", "pair_ID\tA\tB\tjudgment\n1\t2\t3\n"), "tsv", columns=columns)


BLUE = {"id": "index", "text_a": "sentence1", "text_b": "sentence2", "label": "label"}


def test_tsv_whose_cells_are_quoted_as_in_csv(tmp_path):
    text = (
        "index\tsentence1\tsentence2\tlabel\n"
        '1\t"He said ""no pain"" today."\tNo pain.\tentailment\n'
        '2\t"BP 120\t80"\t5\' 2 tall\tneutral\r\n'
        '3\t"two\nlines"\tplain\tneutral\n'
    )
    path = write(tmp_path / "train.tsv", text)
    first, second, third = read(path, "tsv", columns=BLUE, quoting="csv")
    assert (first.id, first.label) == ("1", "entailment")
    assert first.texts == (("He", "said", '"no', 'pain"', "today."), ("No", "pain."))
    assert second.texts == (("BP", "120", "80"), ("5'", "2", "tall"))
    assert (third.id, third.texts[0]) == ("3", ("two", "lines"))
    with pytest.raises(InputError, match="train.tsv:3: 5 columns, the header has 4"):
        read(path, "tsv", columns=BLUE)  # without quoting, a tab always parts cells


@pytest.mark.parametrize(
    ("row", "message"),
    [('1\t"open\tb\tneutral\n', "not CSV"), ('1\t"a" b\tc\tneutral\n', "train.tsv:2: not CSV")],
)
def test_cells_that_are_badly_quoted_are_named(tmp_path, row, message):
    path = write(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tlabel\n" + row)
    with pytest.raises(InputError, match=message):
        read(path, "tsv", columns=BLUE, quoting="csv")


def test_only_the_mednli_of_blue_is_unquoted(tmp_path, monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", str(tmp_path))
    tasks = [load_task(name) for name in task_names()]
    assert [(t.name, s.format) for t in tasks for s in (t.data, *t.also) if s.quoting != "none"] == [
        ("mednli", "tsv")
    ]
    (tmp_path / "mednli").mkdir()
    for split in ("train", "dev", "test"):
        text = f'index\tsentence1\tsentence2\tlabel\n{split}\t"say ""so"""\tb\tneutral\n'
        write(tmp_path / "mednli" / f"{split}.tsv", text)
    [example] = find_data(load_task("mednli")).read("test")
    assert (example.id, example.texts) == ("test", (("say", '"so"'), ("b",)))


def nli4ct(folder, **changes):
    item = {
        "Type": "Comparison",
        "Section_id": "Results",
        "Primary_id": "N1",
        "Secondary_id": "N2",
        "Statement": "both worked",
        "Label": "Entailment",
    } | changes
    (folder / "CT json").mkdir(exist_ok=True)
    for name, line in (("N1", "first trial"), ("N2", "second trial")):
        (folder / "CT json" / f"{name}.json").write_text(json.dumps({"Results": [line, "  more"]}))
    return write(folder / "x.json", json.dumps({"k1": item}))


def test_nli4ct_premise_is_the_whole_section_of_both_trials(tmp_path):
    (found,) = read(nli4ct(tmp_path), "nli4ct")
    assert " ".join(found.texts[0]) == "Primary trial: first trial more Secondary trial: second trial more"
    assert found.texts[1] == ("both", "worked")
    assert (found.id, found.label) == ("k1", "Entailment")
    (single,) = read(nli4ct(tmp_path, Type="Single"), "nli4ct")
    assert " ".join(single.texts[0]) == "first trial more"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Label": None}, "item k1: no label"),
        ({"Section_id": "Nowhere"}, "item k1: its trial has no section 'Nowhere'"),
        ({"Primary_id": "N9"}, "N9.json: No such file"),
    ],
)
def test_a_bad_nli4ct_item_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read(nli4ct(tmp_path, **changes), "nli4ct")


def test_parquet_names_classes_by_the_features_in_the_file(tmp_path):
    tags = datasets.ClassLabel(names=["O", "B-Disease", "I-Disease"])
    features = datasets.Features(
        {"id": datasets.Value("string"), "tokens": datasets.List(datasets.Value("string"))}
        | {"ner_tags": datasets.List(tags)}
    )
    rows = {"id": ["a"], "tokens": [["a", "b"]], "ner_tags": [[1, 2]]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "x.parquet")
    columns = {"id": "id", "words": "tokens", "label": "ner_tags"}
    (found,) = read(tmp_path / "x.parquet", "parquet", columns=columns)
    assert (found.id, found.texts, found.label) == ("a", (("a", "b"),), ("B-Disease", "I-Disease"))
    with pytest.raises(InputError, match="unknown column .*'tags'; did you mean 'ner_tags'"):
        read(tmp_path / "x.parquet", "parquet", columns=columns | {"label": "tags"})


def test_parquet_of_pairs(tmp_path):
    features = datasets.Features(
        {"premise": datasets.Value("string"), "hypothesis": datasets.Value("string")}
        | {"label": datasets.ClassLabel(names=["yes", "no"])}
    )
    rows = {"premise": ["a b"], "hypothesis": ["c"], "label": [1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "x.parquet")
    columns = {"text_a": "premise", "text_b": "hypothesis", "label": "label"}
    (found,) = read(tmp_path / "x.parquet", "parquet", columns=columns)
    assert (found.texts, found.label) == ((("a", "b"), ("c",)), "no")
    with pytest.raises(InputError, match="not a Parquet file"):
        read(write(tmp_path / "y.parquet", "text"), "parquet", columns=columns)


@pytest.mark.parametrize("form", ["conll", "jsonl", "tsv", "nli4ct", "parquet"])
def test_a_file_that_is_not_there_is_one_line(tmp_path, form):
    with pytest.raises(InputError, match="absent.*No such file"):
        read(tmp_path / "absent.x", form)


def test_bytes_that_are_not_utf8_are_named(tmp_path):
    (tmp_path / "latin.tsv").write_bytes("a\tO\ncaf\xe9\tO\n".encode("latin-1"))
    with pytest.raises(InputError, match="latin.tsv:2: not UTF-8 at byte 3"):
        read(tmp_path / "latin.tsv", "conll")
