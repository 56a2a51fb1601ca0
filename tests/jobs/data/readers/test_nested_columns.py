"""Values inside of objects, texts in parts, and classes that stand for none."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from microtome.jobs.data.readers import read_examples
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

ROWS = [
    {"id": "1", "ask": {"text": "does it", "of": {"kind": "drug"}}, "context": ["it does", "so"], "y": "yes"},
    {"id": "2", "ask": {"text": "will it", "of": {"kind": "gene"}}, "context": ["never"], "y": "no"},
]
COLUMNS = {"id": "id", "text_a": "ask.text", "text_b": "context[]", "label": "y"}


@pytest.fixture(params=["jsonl", "json", "parquet"])
def read(request, tmp_path):
    """read(rows, **settings) -> the examples of a file in one of the formats with objects in them."""

    def run(rows, **settings):
        path = tmp_path / f"a.{request.param}"
        if request.param == "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        elif request.param == "json":
            path.write_text(json.dumps(rows))
        else:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return read_examples(path, DataSpec(format=request.param, files={"train": path.name}, **settings))

    return run


def test_a_value_inside_of_an_object_is_found_by_its_path(read):
    examples = read(ROWS, columns=COLUMNS | {"document": "ask.of.kind"})
    assert [example.texts for example in examples] == [
        (("does", "it"), ("it", "does", "so")),
        (("will", "it"), ("never",)),
    ]
    assert [example.document for example in examples] == ["drug", "gene"]


def test_a_column_whose_own_name_has_a_dot_is_that_column(read):
    rows = [row | {"ask.text": f"plain {row['id']}"} for row in ROWS]
    examples = read(rows, columns=COLUMNS)
    assert [" ".join(example.texts[0]) for example in examples] == ["plain 1", "plain 2"]


def test_an_unknown_path_is_named_with_the_nearest_one(read):
    with pytest.raises(InputError, match=r"'ask\.txt'; did you mean 'ask\.text'"):
        read(ROWS, columns=COLUMNS | {"text_a": "ask.txt"})


def test_parts_that_are_no_texts_are_refused(read):
    with pytest.raises(InputError, match="'context': expected a text, found"):
        read([ROWS[0] | {"context": [3]}], columns=COLUMNS)
    with pytest.raises(InputError, match="'context': expected a list of texts, found"):
        read([ROWS[0] | {"context": "it does"}], columns=COLUMNS)
    with pytest.raises(InputError, match="'context': expected a text, found"):
        read(ROWS, columns=COLUMNS | {"text_b": "context"})


def test_a_class_that_is_mapped_to_o_is_left_out(read):
    rows = [{"t": "one", "y": ["none"]}, {"t": "two", "y": ["pain", "none"]}, {"t": "three", "y": ["pain"]}]
    settings = {"columns": {"text_a": "t", "label": "y"}, "target": "classes", "label_map": {"none": "O"}}
    assert [example.label for example in read(rows, **settings)] == [(), ("pain",), ("pain",)]
