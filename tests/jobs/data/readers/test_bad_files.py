"""Every reader, every file that it reads, every way in which a file can be wrong."""

import gzip
import importlib.util
import json
import random
import re
from pathlib import Path

import datasets
import pytest

from microtome.jobs.data.readers import READERS, read_examples
from microtome.jobs.data.readers.spec import SETTINGS, DataSpec
from microtome.store.errors import InputError

# The tests are no package, so that what two of them share is loaded by its path.
_found = importlib.util.spec_from_file_location("worlds", Path(__file__).with_name("worlds.py"))
worlds = importlib.util.module_from_spec(_found)
_found.loader.exec_module(worlds)
WORLDS, FILES, NLI, TRIAL, PUBMED = worlds.WORLDS, worlds.FILES, worlds.NLI, worlds.TRIAL, worlds.PUBMED
write_world, write_bytes = worlds.write_world, worlds.write_bytes


def read(path, settings, **options):
    spec = DataSpec.parse({"files": {"train": path.name}} | settings, where="task")
    return read_examples(path, spec, **options)


def refusal(path, settings):
    """What is said of a file, which is one line."""
    with pytest.raises(InputError) as caught:
        read(path, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def outcome(path, settings):
    """The examples, or what is said in one line."""
    try:
        return read(path, settings)
    except InputError as error:
        return str(error)


def text_of(world, name):
    return WORLDS[world][0][name]


def test_every_reader_of_text_has_a_world():
    assert {settings.get("format", world) for world, (_, settings, _) in WORLDS.items()} == set(READERS) - {
        "chemprot-parquet",
        "parquet",
        "synthetic",
    }
    assert set(SETTINGS) == set(READERS)


@pytest.mark.parametrize("world", WORLDS)
def test_every_world_is_read_with_its_lines(tmp_path, world):
    found = read(*write_world(tmp_path, world))
    assert found
    assert all(str(tmp_path) in example.where for example in found)


@pytest.mark.parametrize(("world", "name"), FILES)
@pytest.mark.parametrize("change", ["byte-order mark", "CRLF"])
def test_files_of_other_programs_are_read_alike(tmp_path, world, name, change):
    path, settings = write_world(tmp_path, world)
    wanted = read(path, settings)
    text = text_of(world, name)
    text = "\ufeff" + text if change == "byte-order mark" else text.replace("\n", "\r\n")
    write_bytes(tmp_path / name, text.encode())
    assert read(path, settings) == wanted


def not_utf8(data):
    first, _, rest = data.partition(b"\n")
    return first + b"\n" + b"\xff" + rest if rest else b"\xff" + data


@pytest.mark.parametrize(("world", "name"), FILES)
def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path, world, name):
    path, settings = write_world(tmp_path, world)
    data = text_of(world, name).encode()
    write_bytes(tmp_path / name, not_utf8(data))
    line = 2 if data.partition(b"\n")[2] else 1
    assert f"{tmp_path / name}:{line}: not " in refusal(path, settings)


@pytest.mark.parametrize(("world", "name"), FILES)
def test_a_nul_byte_is_named_with_its_line(tmp_path, world, name):
    path, settings = write_world(tmp_path, world)
    data = text_of(world, name).encode()
    write_bytes(tmp_path / name, data[:-4] + b"\0" + data[-4:])
    assert f"{tmp_path / name}:" in refusal(path, settings)


@pytest.mark.parametrize(("world", "name"), FILES)
@pytest.mark.parametrize("wrong", ["absent", "folder", "loop", "nowhere"])
def test_what_is_no_file_is_named(tmp_path, world, name, wrong):
    path, settings = write_world(tmp_path, world)
    place = tmp_path / name
    place.unlink()
    if wrong == "folder":
        place.mkdir()
    elif wrong != "absent":
        place.symlink_to(place if wrong == "loop" else tmp_path / "gone")
    said = refusal(path, settings)
    assert place.name in said or str(place.parent) in said or f"{path}: no txt" in said


@pytest.mark.parametrize(("world", "name"), [f for f in FILES if text_of(*f).count("\n") > 1])
def test_lines_that_end_in_carriage_returns_alone_are_read_alike_or_refused(tmp_path, world, name):
    path, settings = write_world(tmp_path, world)
    wanted = read(path, settings)
    write_bytes(tmp_path / name, text_of(world, name).replace("\n", "\r").encode())
    found = outcome(path, settings)
    assert found == wanted or name.rpartition("/")[2] in found


def test_what_is_named_gz_and_is_not_or_is_cut_off(tmp_path):
    path = tmp_path / "a.tsv.gz"
    whole = gzip.compress(b"one\tO\n" * 1000)
    for data in (b"one\tO\n", whole[:-9], whole[:20] + b"\xff" * 9 + whole[29:], whole[:3]):
        path.write_bytes(data)
        assert "gz" in refusal(path, {"format": "conll"})


@pytest.mark.parametrize(("world", "name"), FILES)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, world, name):
    """Bytes changed, lost and doubled at random: whatever comes of it, no other kind of error."""
    path, settings = write_world(tmp_path, world)
    whole = (tmp_path / name).read_bytes()
    rng = random.Random(f"{world} {name}")
    refused = 0
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(data))
            piece = bytes(rng.choices(b"\t\n\r,;:|\"'{}[]<>0919-x\x00\xe9", k=rng.randint(0, 3)))
            data[start : start + rng.choice((0, 1, 1, 5, 40))] = piece
            data = data or bytearray(b"x")
        (tmp_path / name).write_bytes(data)
        found = outcome(path, settings)
        refused += isinstance(found, str)
        assert "\n" not in found
    assert refused > 0


JSON_FILES = [(world, name) for world, name in FILES if name.endswith((".json", ".jsonl"))]


@pytest.mark.parametrize(("world", "name"), JSON_FILES)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a": ' * 100_000, "nested too deep"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"\\udc00": 1}', "half a character"),
        ('{"a": ' + "1" * 5000 + "}", "not JSON"),
        ("7", "expected"),
        ("null", "expected"),
        ('"text"', "expected"),
        ("{'a': 1}", "not JSON"),
    ],
)
def test_json_that_is_none_or_not_what_is_wanted(tmp_path, world, name, text, message):
    path, settings = write_world(tmp_path, world)
    (tmp_path / name).write_text(text)
    said = refusal(path, settings)
    assert message in said
    assert str(tmp_path / name) in said


XML = '<?xml version="1.0"?>\n<!DOCTYPE d [{}]>\n<document id="d1"><sentence text="{}"/></document>'


@pytest.mark.parametrize(
    ("declared", "used"),
    [
        ('<!ENTITY a "ha">' + "".join(f'<!ENTITY a{n} "&a;&a;">' for n in range(9)), "&a8;"),
        ('<!ENTITY a SYSTEM "file:///etc/passwd">', "x"),
        ('<!ENTITY % a SYSTEM "http://localhost/x"> %a;', "x"),
        ('<!ENTITY a "harmless">', "x"),
    ],
)
def test_xml_that_declares_entities_is_refused(tmp_path, declared, used):
    path, settings = write_world(tmp_path, "ddi")
    (path / "d1.xml").write_text(XML.format(declared, used))
    assert "d1.xml:2: declares the entity 'a'" in refusal(path, settings)


# One wrong thing in a row of the generic readers. A value is what stands under `y` unless it says otherwise.

GOOD_ROW = {"id": "2", "a": "three", "b": "four", "y": "yes"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "1"}, "the id '1' is there already"),
        ({"id": ""}, "an empty id"),
        ({"id": " "}, "an empty id"),
        ({"a": ""}, "an empty text"),
        ({"b": "\u00a0 "}, "an empty text"),
        ({"y": ""}, "no label"),
    ],
)
@pytest.mark.parametrize("form", ["tsv", "tsv-csv", "jsonl", "parquet"])
def test_a_wrong_cell_is_named_with_its_line(tmp_path, form, change, message):
    path, settings = rows_of(tmp_path, form, [{"id": "1", "a": "x", "b": "y", "y": "no"}, GOOD_ROW | change])
    said = refusal(path, settings)
    assert message in said
    assert (
        f"{path}: row 1:" in said if form == "parquet" else f"{path}:{2 if form == 'jsonl' else 3}:" in said
    )


def rows_of(folder, form, rows):
    """Rows as a file of a generic format, and its settings."""
    path = folder / "rows"
    if form == "parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [list(rows[0]), *(map(str, row.values()) for row in rows)]
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
    more = {"quoting": "csv"} if form == "tsv-csv" else {}
    return path, {"format": form.partition("-")[0], "columns": worlds.PAIRED} | more


NO_TEXT, NO_LABEL, NO_ID = "expected a text", "expected a label", "expected an id"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *((key, value, NO_TEXT) for key in "ab" for value in (None, 7, 1.5, True, ["x"], {"x": "y"}, [])),
        *(("y", value, NO_LABEL) for value in (True, False, 1.5, ["yes"], {"yes": 1})),
        ("y", None, "no label"),
        *(("id", value, NO_ID) for value in (None, True, 1.5, ["1"], {})),
        ("a", "nul \u0000 inside", "a NUL character"),
        ("id", "\u0000", "a NUL character"),
    ],
)
def test_a_json_value_of_another_type_is_named(tmp_path, key, value, message):
    path, settings = rows_of(tmp_path, "jsonl", [GOOD_ROW | {"id": "1"}, GOOD_ROW | {key: value}])
    said = refusal(path, settings)
    assert message in said
    assert f"{path}:2:" in said


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-Infinity", "1e999", "many", "", None, True, [1], {"a": 1}, "1" * 400]
)
@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_a_score_is_a_finite_number(tmp_path, form, value):
    if form == "tsv" and not isinstance(value, str):
        pytest.skip("a table holds texts alone")
    path, settings = rows_of(tmp_path, form, [GOOD_ROW | {"y": value}])
    said = refusal(path, settings | {"target": "number"})
    assert f"{path}:{1 if form == 'jsonl' else 2}:" in said


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", ()),
        ([], ()),
        ("p, q", ("p", "q")),
        (["p", "q"], ("p", "q")),
        ("p,,q", "no label"),
        ("p,p", "named twice"),
        (["p", ["q"]], NO_LABEL),
        (["p", None], "no label"),
        ({"p": 1}, "expected classes"),
        (None, "expected classes"),
        (3, "expected classes"),
    ],
)
def test_several_classes_are_a_text_or_a_list(tmp_path, value, wanted):
    path, settings = rows_of(tmp_path, "jsonl", [GOOD_ROW | {"y": value}])
    settings |= {"target": "classes"}
    if isinstance(wanted, tuple):
        assert read(path, settings)[0].label == wanted
    else:
        assert wanted in refusal(path, settings)


@pytest.mark.parametrize(
    ("world", "name", "header", "twice"),
    [
        ("tsv", "a.tsv", "id\ta\tb\ty", "id\ta\ta\ty"),
        ("tsv-csv", "a.tsv", "id\ta\tb\ty", "id\ty\tb\ty"),
        ("blue-relation", "a.tsv", "index\tsentence\tlabel", "index\tsentence\tsentence"),
        ("boolean-classes", "a.csv", "text,x,y", "text,x,x"),
        ("covid-stop-reasons", "a.csv", "nctid,why_stopped,", "nctid,nctid,"),
        ("biosses", "a.tsv", "annotator_b", "annotator_a"),
        ("medsts", "a.tsv", "sentence2", "sentence1"),
        ("hoc", "a.tsv", "labels\tsentence", "labels\tlabels"),
        ("trials", "a.csv", "Study Title", "Conditions"),
    ],
)
def test_a_column_that_is_there_twice_is_named(tmp_path, world, name, header, twice):
    path, settings = write_world(tmp_path, world)
    text = text_of(world, name)
    assert header in text
    (tmp_path / name).write_text(text.replace(header, twice, 1))
    said = refusal(path, settings)
    assert f"{path}:1:" in said
    assert "times" in said or "twice" in said


@pytest.mark.parametrize(
    ("form", "role", "wrong", "near"),
    [
        ("tsv", "id", "idd", "id"),
        ("tsv", "label", "yy", "y"),
        ("tsv", "text_b", "bb", "b"),
        ("jsonl", "id", "idd", "id"),
        ("jsonl", "label", "yy", "y"),
        ("parquet", "id", "idd", "id"),
        ("parquet", "label", "yy", "y"),
    ],
)
def test_a_column_that_the_task_names_and_the_file_lacks_is_an_error(tmp_path, form, role, wrong, near):
    path, settings = rows_of(tmp_path, form, [GOOD_ROW])
    said = refusal(path, settings | {"columns": worlds.PAIRED | {role: wrong}})
    assert f"'{wrong}'; did you mean '{near}'?" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"labl": "y"}}, "unknown column role 'labl'; did you mean 'label'"),
        ({"columns": {"label": ""}}, "is empty"),
        ({"columns": {"words": "w"}}, "format: tsv does not use columns.words"),
        ({"files": {"trian": "a"}}, "unknown split 'trian'; did you mean 'train'"),
        ({"files": {"train": " "}}, "is empty"),
        ({"files": {"train": "a\0"}}, "cannot be part of it"),
        ({"hold_out": {"tset": 0.1}}, "unknown split 'tset'; did you mean 'test'"),
        ({"hold_out": {"train": 0.1}}, "train is a file and is held out"),
        ({"hold_out": {"dev": 0.5, "test": 0.5}}, "leaves nothing to train on"),
        ({"files": {"test": "a"}, "hold_out": {"dev": 0.1}}, "has no train"),
        ({"document": "("}, "is no regular expression"),
        ({"document": "^a"}, "has 0 groups"),
        ({"document": "(a)(b)"}, "has 2 groups"),
        ({"files": {"train": "a", "test": "a"}, "hold_out": {"dev": 0.1}}, "which is another split too"),
        ({"entity": "Gene"}, "format: tsv does not use entity"),
        (
            {"format": "conll", "columns": {"label": "y"}},
            "columns.label: a conll file has no names of columns",
        ),
        ({"format": "hoc", "target": "classes"}, "format: hoc does not use target"),
        ({"marks": "bracket"}, "unknown convention 'bracket'; did you mean 'brackets'"),
        ({"marks": ["(", "x"]}, "is no regular expression"),
        ({"marks": ["(a)(b)", "x"]}, "more than one group"),
        ({"marks": "masks", "columns": {"text_b": "b"}}, "marks are looked for in one text"),
        ({"label_map": {"x": ""}}, "is empty"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(InputError, match="^task: ") as caught:
        DataSpec.parse({"format": "tsv", "files": {"train": "a"}} | settings, where="task")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("item", "key", "value"),
    [
        *((NLI, key, value) for key in NLI for value in (None, 7, ["x"], {}, True)),
        *((PUBMED, key, value) for key in PUBMED for value in (None, 7, {"x": 1}, True)),
        (PUBMED, "CONTEXTS", "a text"),
        (PUBMED, "CONTEXTS", [["x"]]),
        (NLI, "Primary_id", "../N1"),
    ],
)
def test_a_value_of_another_type_in_an_item_is_named(tmp_path, item, key, value):
    world, name = ("nli4ct", "a.json") if item is NLI else ("pubmedqa", "ori_pqal.json")
    path, settings = write_world(tmp_path, world)
    (tmp_path / name).write_text(json.dumps({"7": item | {key: value}}))
    if (item, key, value) == (PUBMED, "final_decision", 7) or (item is NLI and key == "Label" and value == 7):
        assert read(path, settings)[0].label == "7"  # whole numbers may be classes
        return
    assert f"{tmp_path / name}: item 7" in refusal(path, settings) or key == "Primary_id"


@pytest.mark.parametrize("module", list(TRIAL["protocolSection"]))
@pytest.mark.parametrize(
    "value", [None, 7, "text", [1], {"conditions": 1, "interventions": ["x"], "sex": [1]}]
)
def test_a_trial_of_another_form_is_named(tmp_path, module, value):
    trial = {"protocolSection": TRIAL["protocolSection"] | {module: value}}
    path, settings = write_world(tmp_path, "trials-json")
    path.write_text(json.dumps([trial]))
    if module == "descriptionModule" and isinstance(value, dict):
        assert read(path, settings)  # it has no summary
        return
    assert f"{path}: record 0: " in refusal(path, settings)


@pytest.mark.parametrize(
    ("world", "name", "old", "new", "message"),
    [
        ("conll", "a.tsv", "two\t", "\t", "a.tsv:2: expected 'word<TAB>tag', found an empty word"),
        ("conll", "a.tsv", "two\t", " \t", "a.tsv:2: expected 'word<TAB>tag', found an empty word"),
        ("hoc", "a.tsv", "cells grow", " ", "a.tsv:2: an empty text"),
        ("medsts", "a.tsv", "2.5", "inf", "a.tsv:2: 'inf' is no score"),
        ("biosses", "a.tsv", "\t4\t", "\tnan\t", "a.tsv:2: 'nan' is no score"),
        ("boolean-classes", "a.csv", "two,", " ,", "a.csv:3: an empty text"),
        (
            "chemprot",
            "x_abstracts.tsv",
            "1\tA",
            "1\tA\tB\n1\tA",
            "x_abstracts.tsv:2: the abstract '1' is there",
        ),
        (
            "chemprot",
            "x_entities.tsv",
            "T2",
            "T1",
            "x_entities.tsv:2: the abstract 1 has an entity 'T1' already",
        ),
        ("chemprot", "x_entities.tsv", "26", "2" * 5000, "x_entities.tsv:2: expected two offsets"),
        ("chemprot", "x_entities.tsv", "26", "99", "x_entities.tsv:2: expected 'ABC1' at 22-99"),
        ("ddi", "Train/d1.xml", '"e2" char', '"e1" char', "d1.xml: the entity 'e1' is there twice"),
        ("ddi", "Train/d1.xml", "10-14", "10-99", "d1.xml: entity e2: '10-99' is no part of a text"),
        ("ddi", "Train/d1.xml", "10-14", "1" * 5000, "d1.xml: entity e2"),
        ("i2b2-2010", "train/concept/r.con", "1:3 1:3", "1:9 1:9", "r.con:2: the record has no word 1:9"),
        ("i2b2-2010", "train/concept/r.con", "1:3 1:3", "1:3 1:" + "3" * 5000, "r.con:2: expected"),
        ("share-clefe", "train/annotations/n.txt", "12", "99", "n.txt:1: ends beyond its note"),
        ("share-clefe", "train/annotations/n.txt", "12", "1" * 5000, "n.txt:1: expected"),
        ("tsv-relation", "a.tsv", "<< Zinol >>", "Zinol", "a.tsv:2: expected one mention marked as <<"),
        ("tsv-relation", "a.tsv", "<< Zinol >>", "<<  >>", "a.tsv:2: a marked mention has no words"),
        ("tsv-relation", "a.tsv", "blocks", "[[ b ]]", "a.tsv:2: expected one mention marked as .*, found 2"),
        ("blue-relation", "a.tsv", "@GENE$ and @DRUG$", "none", "a.tsv:2: expected two masks"),
    ],
)
def test_what_else_a_format_can_have_wrong(tmp_path, world, name, old, new, message):
    path, settings = write_world(tmp_path, world)
    text = text_of(world, name)
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read(path, settings)


# Without labels


def unlabelled(world, text):
    """The text of a world's labelled file without what a model does not need."""
    cut = {
        "conll": lambda: text.replace("\tO", "").replace("\tB-x", "").replace("\tI-x", ""),
        "nli4ct": lambda: json.dumps({"k1": {k: v for k, v in NLI.items() if k != "Label"}}),
        "trials-json": lambda: text.replace('"sex": "ALL"', ""),
        "ddi": lambda: text.replace(' ddi="true" type="effect"', ""),
        "biosses": lambda: "\n".join("\t".join(line.split("\t")[:3]) for line in text.splitlines()),
        "boolean-classes": lambda: "\n".join(line.split(",")[0] for line in text.splitlines()),
        "covid-stop-reasons": lambda: "\n".join(",".join(line.split(",")[:2]) for line in text.splitlines()),
        "hoc": lambda: "\n".join(line.partition("\t")[2] for line in text.splitlines()),
        "trials": lambda: "\n".join(line.rpartition(",")[0] for line in text.splitlines()),
        "jsonl": lambda: text.replace(', "y": "no"', ""),
        "jsonl-relation": lambda: text.replace(', "y": "yes"', ""),
        "json": lambda: text.replace(', "y": "no"', ""),
        "csv": lambda: "\n".join(line.rpartition(",")[0] for line in text.splitlines()),
        "xml": lambda: text.replace(' y="no"', ""),
        "brat-relations": lambda: "".join(text.splitlines(keepends=True)[:2]),
        "bioc": lambda: re.sub("<annotation.*</relation>", "", text, flags=re.DOTALL),
    }
    cut["conll-gz"] = cut["conll"]
    last = lambda: "\n".join(line.rpartition("\t")[0] for line in text.splitlines())  # noqa: E731
    return cut.get(world, last)()


LABELS_APART = {"chemprot": ["x_relations.tsv"], "i2b2-2010": ["train/rel/r.rel"]}
LABELS_APART |= {"share-clefe": ["train/annotations/n.txt"], "pubmedqa": [], "brat": ["train/d1.ann"]}
LABELS_BY_ABSENCE = ("trials-json", "brat-relations", "bioc")  # no sex is `missing`, no annotation `O`


@pytest.mark.parametrize("world", WORLDS)
def test_examples_are_read_without_their_labels(tmp_path, world):
    path, settings = write_world(tmp_path, world)
    labelled = read(path, settings)
    assert without_labels(read(path, settings, labels=False)) == without_labels(labelled)
    if world in LABELS_APART:
        for name in LABELS_APART[world]:
            (tmp_path / name).unlink()
    else:
        *_, name = [name for name in WORLDS[world][0] if (tmp_path / name).is_relative_to(path)]
        write_bytes(tmp_path / name, unlabelled(world, text_of(world, name)).encode())
        if world not in LABELS_BY_ABSENCE:
            refusal(path, settings)
    found = read(path, settings, labels=False)
    assert without_labels(found) == without_labels(labelled)


def without_labels(examples):
    return [(example.id, example.texts, example.spans) for example in examples]


def test_words_and_tags_of_parquet(tmp_path):
    path = tmp_path / "x.parquet"
    settings = {"format": "parquet", "columns": {"id": "id", "words": "w", "label": "t"}}
    good = {"id": "1", "w": ["a", "b"], "t": ["O", "B-x"]}

    def write(**change):
        datasets.Dataset.from_list([good | change]).to_parquet(path)

    write()
    assert read(path, settings)[0].label == ("O", "B-x")
    for change, message in (
        ({"w": "ab"}, "row 0: 'w': expected a list of texts"),
        ({"w": [1, 2]}, "row 0: 'w': expected a text, found int 1"),
        ({"w": ["a", None]}, "row 0: 'w': expected a text, found null"),
        ({"w": ["a", ""]}, "row 0: an empty word"),
        ({"w": []}, "row 0: 0 words but 2 tags"),
        ({"t": "OB"}, "row 0: expected a list of tags"),
        ({"t": ["O"]}, "row 0: 2 words but 1 tags"),
        ({"t": ["O", None]}, "row 0: no label"),
        ({"id": 1.5}, "row 0: expected an id"),
    ):
        write(**change)
        assert message in refusal(path, settings)
    datasets.Dataset.from_list([{"id": "1", "w": ["a", "b"]}]).to_parquet(path)
    assert without_labels(read(path, settings, labels=False)) == [("1", (("a", "b"),), ())]
    write()
    whole = path.read_bytes()
    rng = random.Random(3)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(4):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.choice((len(data), len(data), len(data) // 2))])
        assert "\n" not in outcome(path, settings)


def test_text_is_opened_in_one_place():
    folder = Path(read_examples.__code__.co_filename).parent
    opened = {
        file.name
        for file in folder.glob("*.py")
        if re.search(r"encoding=|read_text|gzip\.", file.read_text())
    }
    assert opened == {"opening.py"}
