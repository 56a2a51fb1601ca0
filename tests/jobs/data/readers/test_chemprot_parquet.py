"""ChemProt as it is converted for the hub: the same examples as from the tables."""

import copy

import pyarrow
import pyarrow.parquet
import pytest

from microtome.jobs.data.readers import read_examples
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

TEXT = "Zinol in trials. Zinol blocks ABC1. ABC1 stays."
ROW = {
    "pmid": "7",
    "text": TEXT,
    "entities": {
        "id": ["T1", "T2", "T3", "T4"],
        "type": ["CHEMICAL", "CHEMICAL", "GENE-Y", "GENE-N"],
        "text": ["Zinol", "Zinol", "ABC1", "ABC1"],
        "offsets": [[0, 5], [17, 22], [30, 34], [36, 40]],
    },
    "relations": {
        "type": ["CPR:4", "CPR:3", "CPR:1"],
        "arg1": ["T2", "T2", "T2"],
        "arg2": ["T3", "T3", "T4"],
    },
}


def read(path, rows, form="chemprot-parquet", **options):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return read_examples(path, DataSpec(format=form, files={"train": path.name}), **options)


def test_the_rows_give_the_examples_of_the_tables(tmp_path):
    entities = ROW["entities"]
    mentions = zip(entities["id"], entities["type"], entities["offsets"], entities["text"], strict=True)
    relations = zip(*ROW["relations"].values(), strict=True)
    tables = {
        "abstracts": [f"7\tZinol in trials.\t{TEXT.partition('. ')[2]}"],
        "entities": [f"7\t{id}\t{kind}\t{start}\t{end}\t{text}" for id, kind, (start, end), text in mentions],
        "relations": [
            f"7\t{group}\t{'N' if group == 'CPR:1' else 'Y'}\tX\tArg1:{one}\tArg2:{two}"
            for group, one, two in relations
        ],
    }
    for name, lines in tables.items():
        (tmp_path / f"x_{name}.tsv").write_text("\n".join(lines) + "\n")
    of_tables = read_examples(
        tmp_path / "x_abstracts.tsv", DataSpec(format="chemprot", files={"train": "x_abstracts.tsv"})
    )
    of_rows = read(tmp_path / "a.parquet", [ROW])
    assert of_rows == of_tables
    assert [(e.label, e.further_labels) for e in of_rows] == [("CPR:4", ("CPR:3",))]


def test_relations_are_not_needed_where_no_labels_are(tmp_path):
    row = {name: value for name, value in ROW.items() if name != "relations"}
    [example] = read(tmp_path / "a.parquet", [row], labels=False)
    assert example.id == "7.T2.T3"
    with pytest.raises(InputError, match="row 0: no column 'relations'"):
        read(tmp_path / "a.parquet", [row])


@pytest.mark.parametrize(
    ("column", "field", "value", "message"),
    [
        ("entities", "offsets", [[0, 5], [17, 22], [30], [36, 40]], "expected two offsets of 'T3', found"),
        ("entities", "text", ["Zinol", "Zedol", "ABC1", "ABC1"], "expected 'Zedol' at 17-22, found 'Zinol'"),
        ("entities", "id", ["T1", "T2", "T3"], "'entities': expected lists of one length as id, type,"),
        ("entities", "id", ["T1", "T2", "T3", "T3"], "the abstract 7 has an entity 'T3' already"),
        ("relations", "arg1", ["T9", "T2", "T2"], "expected a chemical and a gene"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, column, field, value, message):
    row = copy.deepcopy(ROW)
    row[column][field] = value
    with pytest.raises(InputError, match=f"row 0.*{message}"):
        read(tmp_path / "a.parquet", [row])
