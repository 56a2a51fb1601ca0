"""Which document an example is from: what the format, a column or the id says."""

import pytest

from microtome.jobs.data.examples import Example, document_numbers, rows_digest
from microtome.jobs.data.readers import read_examples
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.errors import InputError


def documents(path, format, text, **settings):
    path.write_text(text)
    spec = DataSpec(format=format, files={"train": path.name}, **settings)
    return [example.document for example in read_examples(path, spec)]


def test_docstart_lines_begin_documents(tmp_path):
    text = "-DOCSTART-\tO\n\na\tO\n\nb\tO\n\n-DOCSTART-\tO\n\nc\tO\n"
    assert documents(tmp_path / "a.tsv", "conll", text) == ["1", "1", "2"]


def test_medline_lines_name_documents(tmp_path):
    text = "###MEDLINE:95369245\n\na\tO\n\n###MEDLINE:95333264\n\nb\tO\n\nc\tO\n"
    assert documents(tmp_path / "a.iob2", "conll", text) == ["95369245", "95333264", "95333264"]


def test_what_stands_before_the_first_mark_is_a_document_too(tmp_path):
    text = "a\tO\n\nb\tO\n\n-DOCSTART-\tO\n\nc\tO\n"
    assert documents(tmp_path / "a.tsv", "conll", text) == ["0", "0", "1"]


def test_files_without_marks_name_no_document(tmp_path):
    assert documents(tmp_path / "a.tsv", "conll", "a\tO\n\nb\tO\n") == ["", ""]


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("tsv", "text_a\tlabel\tpmid\na\tx\t7\nb\tx\t7\nc\tx\t8\n"),
        (
            "jsonl",
            '{"text_a": "a", "label": "x", "pmid": 7}\n{"text_a": "b", "label": "x", "pmid": 7}\n'
            '{"text_a": "c", "label": "x", "pmid": 8}\n',
        ),
    ],
)
def test_a_column_names_documents(tmp_path, format, text):
    path = tmp_path / f"a.{format}"
    assert documents(path, format, text, columns={"document": "pmid"}) == ["7", "7", "8"]


def test_column_and_pattern_are_not_both_taken():
    with pytest.raises(ValueError, match="columns has document; choose one"):
        DataSpec(format="tsv", files={"train": "a"}, columns={"document": "pmid"}, document="^(.)")


def test_an_id_that_names_no_document_is_refused(tmp_path):
    text = "id\ttext_a\tlabel\n7.1\ta\tx\nb\tb\tx\n"
    settings = {"columns": {"id": "id"}, "document": r"^(\d+)\."}
    with pytest.raises(InputError, match="id 'b' names no document"):
        documents(tmp_path / "a.tsv", "tsv", text, **settings)


def test_a_document_is_numbered_by_its_first_example():
    named = [Example(str(i), (("a",),), "x", document=name) for i, name in enumerate(["p", "q", "p", "", ""])]
    assert document_numbers(named) == [0, 1, 0, 3, 4]


def test_documents_are_part_of_the_identity_of_rows():
    apart, together = (rows_digest([Example("1", (("a",),), "x", document=name)]) for name in ("", "7"))
    assert apart != together


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("jnlpba", 404),
        ("hoc", 371),
        ("chemprot", 728),  # of 800 abstracts, those with a chemical and a gene in one sentence
        ("ddi2013", 191),
    ],
)
def test_documents_of_real_corpora(corpora, monkeypatch, task, expected):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    numbers = document_numbers(find_data(load_task(task)).read("test"))
    assert len(set(numbers)) == expected
