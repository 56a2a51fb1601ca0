"""The forms in which people have their own corpora, with what usually goes wrong in them."""

import json
import logging

import pytest

from microtome.jobs.data.readers import read_examples
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError


def read(path, data, labels=True, **settings):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_examples(
        path, DataSpec.parse({"files": {"train": "a"}} | settings, where="task"), labels=labels
    )


def tags(path, text, **settings):
    return [example.label for example in read(path, text, format="conll", **settings)]


WANTED = [("B-cell-line", "I-cell-line", "B-cell-line", "O", "B-DNA")]


@pytest.mark.parametrize(
    ("scheme", "published"),
    [
        ("iob2", "B-cell-line I-cell-line B-cell-line O B-DNA"),
        ("iob1", "I-cell-line I-cell-line B-cell-line O I-DNA"),
        ("iobes", "B-cell-line E-cell-line S-cell-line O S-DNA"),
        ("bilou", "B-cell-line L-cell-line U-cell-line O U-DNA"),
    ],
)
def test_tags_of_every_scheme_become_iob2(tmp_path, scheme, published):
    text = "".join(f"w{i}\t{tag}\n" for i, tag in enumerate(published.split()))
    assert tags(tmp_path / "a", text, scheme=scheme) == WANTED
    row = json.dumps({"t": ["a", "b", "c", "d", "e"], "y": published.split()})
    columns = {"words": "t", "label": "y"}
    found = read(tmp_path / "b", row, format="jsonl", columns=columns, scheme=scheme)
    assert [example.label for example in found] == WANTED


@pytest.mark.parametrize(
    ("scheme", "published", "message"),
    [
        ("iobes", "B-x O", ":2: 'O' leaves the entity 'x' without an end; not IOBES"),
        ("iobes", "B-x I-x", ":2: the entity 'x' does not end; not IOBES"),
        ("bilou", "U-x L-x", ":2: 'L-x' continues no entity"),
        ("bilou", "S-x", r":1: 'S-x' is no BILOU tag \(O, B-type, I-type, L-type or U-type\)"),
        ("iob2", "O I-x", r":2: 'I-x' continues no entity \(the tag before is 'O'\); not IOB2"),
    ],
)
def test_tags_that_are_not_of_the_scheme_are_refused(tmp_path, scheme, published, message):
    text = "".join(f"w\t{tag}\n" for tag in published.split())
    with pytest.raises(InputError, match=message):
        tags(tmp_path / "a", text, scheme=scheme)


def test_conll_takes_blanks_any_column_and_names_of_documents(tmp_path):
    text = "# doc = d1\n1  Zinol NN B-x _\n2 works VB O _\n\n# doc = d2\n1 Zedol NN B-y _\n"
    columns = {"words": 1, "label": 3}
    settings = {"delimiter": "space", "columns": columns, "document_mark": "# doc = (.*)"}
    one, other = read(tmp_path / "a", text, format="conll", label_map={"y": "O"}, **settings)
    assert (one.texts, one.label, one.document) == ((("Zinol", "works"),), ("B-x", "O"), "d1")
    assert (other.label, other.document) == (("O",), "d2")  # a type that is mapped to O is left out
    with pytest.raises(InputError, match=":2: columns.label is column 7, but there are 5"):
        read(tmp_path / "a", text, format="conll", **settings | {"columns": {"words": 1, "label": 7}})


@pytest.mark.parametrize(
    ("format", "delimiter", "text"),
    [
        ("csv", None, 'no,"one, ""quoted"" text"\r\nyes,two\r\n'),
        ("csv", "semicolon", 'no;"one, ""quoted"" text"\nyes;two\n'),
        ("tsv", "pipe", 'no|one, "quoted" text\nyes|two\n'),
    ],
)
def test_tables_without_a_header_have_columns_by_number(tmp_path, format, delimiter, text):
    settings = {"format": format, "header": False, "columns": {"text_a": 1, "label": 0}}
    settings |= {"delimiter": delimiter} if delimiter else {}
    one, other = read(tmp_path / "a", text, **settings)
    assert (one.texts, one.label) == ((("one,", '"quoted"', "text"),), "no")
    assert (other.id, other.label) == ("1", "yes")
    with pytest.raises(InputError, match=r"columns.label is column 2, but the file has 2, from 0 to 1"):
        read(tmp_path / "a", text, **settings | {"columns": {"text_a": 1, "label": 2}})
    with pytest.raises(InputError, match=r"columns.label: without a header a column is its number"):
        read(tmp_path / "a", text, **settings | {"columns": {"text_a": 1, "label": "y"}})


def test_a_column_may_have_several_names_and_names_of_its_own_in_a_split(tmp_path):
    columns = {"text_a": "text", "label": ["label", "entailment"]}
    for name in columns["label"]:
        (found,) = read(tmp_path / "a", f"text\t{name}\nx\tno\n", format="tsv", columns=columns)
        assert found.label == "no"
    with pytest.raises(InputError, match="no column 'label' or 'entailment' for label. Columns: text, y"):
        read(tmp_path / "a", "text\ty\nx\tno\n", format="tsv", columns=columns)
    spec = DataSpec.parse(
        {"format": "tsv", "files": {"train": "a", "test": "b"}, "columns": {"text_a": "text", "label": "y"}}
        | {"split_columns": {"test": {"label": "gold"}}},
        where="task",
    )
    assert spec.for_split("test").columns == {"text_a": "text", "label": "gold"}
    assert spec.for_split("train").columns == {"text_a": "text", "label": "y"}


def test_a_role_that_no_column_plays_is_named(tmp_path):
    with pytest.raises(
        InputError, match="a:1: no column for label: .* there is no 'label'. Columns: text, y"
    ):
        read(tmp_path / "a", "text\ty\nx\tno\n", format="tsv", columns={"text_a": "text"})


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_text_in_another_encoding(tmp_path, encoding):
    text = "text,label\r\nna\u00efve caf\u00e9,no\r\n"
    columns = {"text_a": "text"}
    (found,) = read(tmp_path / "a", text.encode(encoding), format="csv", columns=columns, encoding=encoding)
    assert found.texts == (("na\u00efve", "caf\u00e9"),)
    with pytest.raises(InputError, match="encoding: latin-1"):
        read(tmp_path / "a", text.encode("latin-1"), format="csv", columns=columns)
    with pytest.raises(InputError, match="no text encoding is called 'latin-9000'"):
        read(tmp_path / "a", text, format="csv", columns=columns, encoding="latin-9000")


def test_json_lists_are_found_by_their_keys(tmp_path):
    text = json.dumps({"data": {"rows": [{"q": "is it", "c": "it is", "y": "yes"}]}})
    columns = {"text_a": "q", "text_b": "c", "label": "y"}
    (found,) = read(tmp_path / "a", text, format="json", record="data.rows", columns=columns)
    assert found.label == "yes"
    with pytest.raises(InputError, match="expected a list of objects, found dict with the keys data; record"):
        read(tmp_path / "a", text, format="json", columns=columns)


def test_relations_in_xml_have_their_mentions(tmp_path):
    text = "<s><r id='7' y='yes'><t>[E1]Zinol[/E1] blocks [E2]ABC1[/E2].</t></r></s>"
    columns = {"id": "@id", "text_a": "t", "label": "@y"}
    (found,) = read(tmp_path / "a", text, format="xml", record="r", columns=columns, marks="tags")
    assert (found.id, found.label, len(found.spans)) == ("7", "yes", 2)
    with pytest.raises(InputError, match="unknown column in .*a: r 0 '@yy'; did you mean '@y'"):
        read(tmp_path / "a", text, format="xml", record="r", columns=columns | {"label": "@yy"})


TEXT = "Zinol and Zedol block ABC1 (in vitro). It helps.\nShort- and long-acting nitrates do not."


def brat(folder, lines, **settings):
    folder.mkdir()
    (folder / "d1.txt").write_text(TEXT)
    (folder / "d1.ann").write_text(lines)
    spec = DataSpec.parse({"format": "brat", "files": {"train": "a"}} | settings, where="task")
    return read_examples(folder, spec)


def mention(id, kind, *words):
    offsets = ";".join(f"{TEXT.index(word)} {TEXT.index(word) + len(word)}" for word in words)
    return f"{id}\t{kind} {offsets}\t{' '.join(words)}\n"


DRUGS = mention("T1", "Drug", "Zinol") + mention("T2", "Drug", "Zedol") + mention("T3", "Gene", "ABC")


def test_brat_mentions_become_tags_of_sentences(tmp_path, caplog):
    split = mention("T4", "Drug", "Short-", "acting nitrates") + mention("T5", "Gene", "ABC1")
    with caplog.at_level(logging.WARNING):
        first, second, third = brat(tmp_path / "a", DRUGS + split + "A1\tNegated T1\n#1\tNote T1\tx\n")
    assert first.label[:5] == ("B-Drug", "O", "B-Drug", "O", "B-Gene")
    assert second.texts == (("It", "helps", "."),)
    assert set(third.label) == {"O"}
    assert [e.document for e in (first, second, third)] == ["d1"] * 3
    assert "1 mentions in several parts are left out" in caplog.text
    assert "1 mentions that overlap another are left out" in caplog.text


def test_brat_relations_are_pairs_of_masked_mentions(tmp_path, caplog):
    related = "R1\tblocks Arg1:T1 Arg2:T3\nR2\thelps Arg1:T1 Arg2:T6\n" + mention("T6", "Drug", "nitrates")
    settings = {"annotations": "relations", "pairs": [["Gene", "Drug"]]}
    with caplog.at_level(logging.WARNING):
        first, second = brat(tmp_path / "a", DRUGS + related, **settings)
    assert (first.id, first.label, second.label) == ("d1.T1.T3", "blocks", "false")
    assert " ".join(first.texts[0]).startswith("@Drug$ and Zedol block @Gene$ 1")
    assert first.spans == ((0, 1), (4, 5))
    assert "1 relations of mentions in two sentences" in caplog.text


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("T1\tDrug 0 5\tZedol\n", "d1.ann:1: expected 'Zedol' at its offsets, where the text is 'Zinol'"),
        ("T1\tDrug 0 999\tx\n", "d1.ann:1: .* is no part of a text"),
        ("T1 Drug 0 5\n", "d1.ann:1: expected 'T1<TAB>Type start end"),
        (DRUGS + "R1\tblocks Arg1:T1 Arg2:T9\n", "d1.ann:4: no mention 'T9' in d1.ann"),
    ],
)
def test_brat_files_that_do_not_fit_are_named(tmp_path, annotations, message):
    with pytest.raises(InputError, match=message):
        brat(tmp_path / "a", annotations)


PASSAGES = [
    {"offset": 0, "text": "Zinol trial", "annotations": []},
    {
        "offset": 12,
        "text": "Zinol blocks ABC1.",
        "annotations": [
            {
                "id": "1",
                "infons": {"type": "Drug"},
                "text": "Zinol",
                "locations": [{"offset": 12, "length": 5}],
            },
            {
                "id": "2",
                "infons": {"type": "Gene"},
                "text": "ABC1",
                "locations": [{"offset": 25, "length": 4}],
            },
        ],
        "relations": [{"infons": {"type": "blocks"}, "nodes": [{"refid": "1"}, {"refid": "2"}]}],
    },
]


@pytest.mark.parametrize("key", ["documents", "PubTator3"])
def test_bioc_json_is_read_as_its_xml(tmp_path, key):
    text = json.dumps({key: [{"id": "d1", "passages": PASSAGES}]})
    title, body = read(tmp_path / "a.json", text, format="bioc")
    assert title.texts == (("Zinol", "trial"),)
    assert body.label == ("B-Drug", "O", "B-Gene", "O")
    (pair,) = read(tmp_path / "a.json", text, format="bioc", annotations="relations")
    assert (pair.id, pair.texts[0][:3], pair.label) == ("d1.1.2", ("@Drug$", "blocks", "@Gene$"), "blocks")


def test_settings_of_own_corpora_that_mean_nothing_are_refused():
    for settings, message in (
        ({"format": "tsv", "delimiter": "space"}, "space parts the columns of conll only"),
        ({"format": "xml"}, "xml needs the path to its rows"),
        ({"format": "tsv", "scheme": "iob1"}, "tsv does not use scheme"),
        ({"format": "tsv", "unlabelled": ["train"]}, "train needs labels"),
        ({"format": "tsv", "unlabelled": ["test"]}, "files has no test"),
        ({"format": "tsv", "split_columns": {"test": {"labl": "y"}}}, "unknown column role 'labl'"),
    ):
        with pytest.raises(InputError, match=message):
            DataSpec.parse({"files": {"train": "a"}} | settings, where="task")
