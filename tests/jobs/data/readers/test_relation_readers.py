from collections import Counter
from dataclasses import replace

import pytest

from microtome.jobs.data.readers import READERS, marks, read_examples
from microtome.jobs.data.readers.chemprot import GoldCounts, count_gold
from microtome.jobs.data.readers.mentions import mask_pair
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.errors import InputError

DRUGS = ("@DRUG$", "@DRUG$")


def read(path, form, **spec):
    return read_examples(path, DataSpec(format=form, files={"test": path.name}, **spec))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def marked(example):
    """The words, and those that the spans name."""
    (words,) = example.texts
    return " ".join(words), [words[start:end] for start, end in example.spans]


def where(text, *mentions):
    return [(text.index(mention), text.index(mention) + len(mention)) for mention in mentions]


@pytest.mark.parametrize(
    ("text", "one", "other", "words", "spans"),
    [
        ("(abc)-like xyz.", ["abc"], ["xyz"], "( @DRUG$ )-like @DRUG$ .", ((1, 2), (3, 4))),
        ("xyz or abc", ["abc"], ["xyz"], "@DRUG$ or @DRUG$", ((0, 1), (2, 3))),
        ("abcxyz", ["abc"], ["xyz"], "@DRUG$ @DRUG$", ((0, 1), (1, 2))),
        ("so abcde now", ["abc"], ["bcde"], "so @BOTH$ now", ((1, 2), (1, 2))),
        ("short and long acting agents", ["short", "acting agents"], ["long acting agents"],
         "@DRUG$ and @DRUG$", ((0, 1), (2, 3))),
        ("big or odd agents", ["big", "agents"], ["odd", "agents"], "@DRUG$ or @DRUG$", ((0, 1), (2, 3))),
    ],
)  # fmt: skip
def test_mentions_are_masked_by_words_of_their_own(text, one, other, words, spans):
    found = mask_pair(text, (where(text, *one), where(text, *other)), DRUGS, "@BOTH$")
    assert found == (tuple(words.split()), spans)


def test_masks_are_found_in_masked_text():
    words, spans = marks.marked("(@GENE$)-bound,@CHEMICAL$.", "masks")
    assert words == ("(", "@GENE$", ")-bound,", "@CHEMICAL$", ".")
    assert spans == ((1, 2), (3, 4))
    assert marks.marked("a @DRUG-DRUG$", "masks")[1] == ((1, 2), (1, 2))
    for strange in ("a @b c$", "@DRUG$ @DRUG$ @DRUG$"):
        with pytest.raises(InputError, match="expected two masks, or one of two that overlap, found [03]"):
            marks.marked(strange, "masks")


TITLE, BODY = (
    "Zinol and ABC1",
    "Given i.v. Zinol blocks ABC1. With Mr. Zed-ol, ABC1 rests. Zinol-kinase is known.",
)
ABSTRACT = f"{TITLE} {BODY}"
ENTITIES = [  # id, type, text, from where to look for it
    ("T2", "GENE-Y", "ABC1", 0),
    ("T1", "CHEMICAL", "Zinol", 0),
    ("T3", "CHEMICAL", "Zinol", 16),
    ("T4", "GENE-N", "ABC1", 16),
    ("T5", "CHEMICAL", "Mr. Zed-ol", 0),
    ("T6", "GENE-Y", "ABC1", 50),
    ("T7", "CHEMICAL", "Zinol", 60),
    ("T8", "GENE-N", "Zinol-kinase", 0),
]
RELATIONS = """\
7\tCPR:4\tY \tINHIBITOR\tArg1:T3\tArg2:T4
7\tCPR:4\tY \tDOWNREGULATOR\tArg1:T3\tArg2:T4
7\tCPR:3\tY \tACTIVATOR\tArg1:T3\tArg2:T4
7\tCPR:2\tN \tREGULATOR\tArg1:T5\tArg2:T6
7\tCPR:9\tY \tSUBSTRATE\tArg1:T7\tArg2:T8
7\tCPR:6\tY \tANTAGONIST\tArg1:T1\tArg2:T6
"""


def entity_rows():
    for name, kind, text, start in ENTITIES:
        place = ABSTRACT.index(text, start)
        yield f"7\t{name}\t{kind}\t{place}\t{place + len(text)}\t{text}\n"


def chemprot(
    folder, abstracts=f"7\t{TITLE}\t{BODY}\n8\tNothing\there.\n", entities=None, relations=RELATIONS
):
    write(folder / "x_entities_gs.tsv", "".join(entity_rows()) if entities is None else entities)
    write(folder / "x_relations_gs.tsv", relations)
    return write(folder / "x_abstracts_gs.tsv", abstracts)


def test_chemprot_pairs_a_chemical_with_each_gene_of_its_sentence(tmp_path):
    found = read(chemprot(tmp_path), "chemprot")
    assert [(e.id, e.label) for e in found] == [
        ("7.T1.T2", "false"),  # the title ends a sentence, though no punctuation does
        ("7.T3.T4", "CPR:4"),
        ("7.T5.T6", "false"),
        ("7.T7.T8", "CPR:9"),
    ]
    assert [e.further_labels for e in found] == [(), ("CPR:3",), (), ()]
    masked = [marked(example) for example in found]
    both = ["@CHEMICAL$"], ["@GENE$"]
    assert masked[0] == ("@CHEMICAL$ and @GENE$", [("@CHEMICAL$",), ("@GENE$",)])
    assert masked[1][0] == "Given i.v. @CHEMICAL$ blocks @GENE$ ."
    assert masked[2] == ("With @CHEMICAL$ , @GENE$ rests.", [tuple(mask) for mask in both])
    assert masked[3] == ("@CHEM-GENE$ is known.", [("@CHEM-GENE$",)] * 2)


def test_both_forms_of_chemprot_have_the_same_words_and_spans(tmp_path):
    # the table of BLUE has one label per pair
    published = [replace(example, further_labels=()) for example in read(chemprot(tmp_path), "chemprot")]
    table = """\
index\tsentence\tlabel
7.T1.T2\t@CHEMICAL$ and @GENE$\tfalse
7.T3.T4\tGiven i.v. @CHEMICAL$ blocks @GENE$.\tCPR:4
7.T5.T6\tWith @CHEMICAL$, @GENE$ rests.\tfalse
7.T7.T8\t@CHEM-GENE$ is known.\tCPR:9
"""
    in_table = read(write(tmp_path / "train.tsv", table), "blue-relation", document=r"^(\d+)\.")
    assert in_table == published
    assert {example.document for example in published} == {"7"}


def test_chemprot_counts_the_gold_that_gives_no_example(tmp_path):
    assert count_gold(chemprot(tmp_path)) == GoldCounts(gold=4, merged=1, crossing=1)
    crlf = [f"{row}\r\n" for row in RELATIONS.splitlines()]
    assert count_gold(chemprot(tmp_path, relations="".join(crlf))).gold == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"abstracts": "7\ttitle\n"}, "x_abstracts_gs.tsv:1: expected 3 columns, found 2"),
        ({"entities": "7\tT1\tCHEMICAL\t0\t5\tZink!\n"}, "gs.tsv:1: expected 'Zink!' at 0-5, found 'Zinol'"),
        ({"entities": "7\tT1\tCHEMICAL\t5\t5\t\n"}, "entities_gs.tsv:1: expected '' at 5-5"),
        ({"entities": "7\tT1\tDRUG\t0\t5\tZinol\n"}, "entities_gs.tsv:1: expected CHEMICAL.*found 'DRUG'"),
        ({"entities": "7\tT1\tCHEMICAL\ta\t5\tZinol\n"}, "gs.tsv:1: expected two offsets, found 'a'"),
        ({"entities": "6\tT1\tCHEMICAL\t0\t5\tZinol\n"}, "entities_gs.tsv:1: no abstract '6'"),
        ({"relations": "7\tCPR:4\tQ\tx\tArg1:T3\tArg2:T4\n"}, "gs.tsv:1: expected Y or N, found 'Q'"),
        (
            {"relations": "\n7\tCPR:4\tY\tx\tArg1:T4\tArg2:T3\n"},
            "relations_gs.tsv:2: expected a chemical and a gene, found Arg1:T4 and Arg2:T3",
        ),
        ({"relations": "7\tCPR:4\tY\tx\tArg1:T3\tArg2:T99\n"}, "found Arg1:T3 and Arg2:T99"),
    ],
)  # fmt: skip
def test_a_malformed_chemprot_row_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read(chemprot(tmp_path, **changes), "chemprot")


def test_chemprot_needs_the_three_files(tmp_path):
    path = chemprot(tmp_path)
    (tmp_path / "x_relations_gs.tsv").unlink()
    with pytest.raises(InputError, match=r"x_relations_gs.tsv: No such file"):
        read(path, "chemprot")
    with pytest.raises(InputError, match="expected a file named .*_abstracts"):
        read(tmp_path / "x_entities_gs.tsv", "chemprot")


# manifest: gold relations; then the examples of each class
CHEMPROT = {
    "train": (4157, 10, {"CPR:3": 768, "CPR:4": 2254, "CPR:5": 173, "CPR:6": 235, "CPR:9": 727}),
    "dev": (2416, 4, {"CPR:3": 550, "CPR:4": 1094, "CPR:5": 116, "CPR:6": 199, "CPR:9": 457}),
    "test": (3458, 14, {"CPR:3": 665, "CPR:4": 1661, "CPR:5": 195, "CPR:6": 293, "CPR:9": 644}),
}


@pytest.mark.parametrize("split", list(CHEMPROT))
def test_no_gold_relation_of_chemprot_is_lost(corpora, split):
    gold, merged, groups = CHEMPROT[split]
    task = load_task("chemprot")
    path = corpora / "chemprot" / task.data.files[split]
    assert count_gold(path) == GoldCounts(gold, merged, crossing=0)
    found = READERS["chemprot"](path, task.data)
    counts = Counter(example.label for example in found)
    assert counts.keys() == set(task.labels)
    assert len(found) - counts["false"] == gold - merged
    missing = {group: total - counts[group] for group, total in groups.items()}
    assert min(missing.values()) >= 0
    assert sum(missing.values()) == merged
    assert sum(len(example.further_labels) for example in found) == merged
    assert len({example.id for example in found}) == len(found)
    assert all(example.spans == marks.marked(" ".join(example.texts[0]), "masks")[1] for example in found)


def test_chemprot_of_thirteen_classes(corpora, monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    data = find_data(load_task("chemprot-13"))
    found = {split: data.read(split) for split in ("train", "dev", "test")}
    assert [len(examples) for examples in found.values()] == [4169, 2427, 3469]
    train, test = (Counter(e.label for e in found[split]) for split in ("train", "test"))
    assert (train["INHIBITOR"], train["AGONIST-INHIBITOR"], len(train)) == (1642, 4, 13)
    assert (test["INHIBITOR"], test["SUBSTRATE_PRODUCT-OF"], len(test)) == (1255, 0, 12)
    texts = [" ".join(e.texts[0]) for e in found["test"]]
    assert all(mark in text for text in texts for mark in ("<< ", " >>", "[[ ", " ]]"))


DDI = """<document id="DDI-X.d1">
<sentence id="DDI-X.d1.s0" text="Alpha, beta, and low- or high-dose gamma.">
  <entity id="e0" charOffset="0-4" type="drug" text="Alpha"/>
  <entity id="e1" charOffset="7-10" type="drug" text="beta"/>
  <entity id="e2" charOffset="17-19;30-39" type="group" text="low dose gamma"/>
  <entity id="e3" charOffset="1-4" type="drug" text="lpha"/>
  <pair id="DDI-X.d1.s0.p0" e1="e0" e2="e1" ddi="true" type="effect"/>
  <pair id="DDI-X.d1.s0.p1" e1="e0" e2="e2" ddi="false"/>
  <pair id="DDI-X.d1.s0.p2" e1="e1" e2="e2" ddi="true"/>
  <pair id="DDI-X.d1.s0.p3" e1="e0" e2="e3" ddi="false"/>
</sentence>
<sentence id="DDI-X.d1.s1" text=""/>
</document>
"""


def test_ddi_pairs_of_all_files_below_a_folder(tmp_path):
    write(tmp_path / "b b" / "2.xml", DDI.replace("d1.", "d2."))
    write(tmp_path / "a" / "1.xml", DDI)
    found = read(tmp_path, "ddi", document=r"^(DDI-[A-Za-z]+\.d\d+)")
    assert [e.id for e in found] == [f"DDI-X.d{d}.s0.p{p}" for d in (1, 2) for p in (0, 1, 3)]
    assert [e.label for e in found[:3]] == ["DDI-effect", "DDI-false", "DDI-false"]
    two = [("@DRUG$",), ("@DRUG$",)]
    assert marked(found[0]) == ("@DRUG$ , @DRUG$ , and low- or high-dose gamma.", two)
    assert marked(found[1]) == ("@DRUG$ , beta, and @DRUG$ - or high-.", two)
    assert marked(found[2])[0] == "@DRUG-DRUG$ , beta, and low- or high-dose gamma."


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</document>", "", r"1.xml:14: not XML"),
        ('"0-4"', '"0-99"', "1.xml: entity e0: '0-99' is no part of a text of 41 characters"),
        ('"0-4"', '"4-x"', "1.xml: entity e0: '4-x' is no part"),
        ('"0-4"', '"9-4"', "1.xml: entity e0: '9-4' is no part"),
        ('e2="e1"', 'e2="e7"', r"pair DDI-X.d1.s0.p0: its sentence has no entity 'e7'"),
        ('e2="e1"', "", r"pair DDI-X.d1.s0.p0: a pair without 'e2'"),
        ('"false"', '"no"', r"pair DDI-X.d1.s0.p1: expected ddi 'true' or 'false', found 'no'"),
    ],
)
def test_malformed_ddi_is_named(tmp_path, old, new, message):
    write(tmp_path / "1.xml", DDI.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read(tmp_path, "ddi")


def test_ddi_needs_a_folder_with_files(tmp_path):
    with pytest.raises(InputError, match=r"no \*.xml in this folder"):
        read(tmp_path, "ddi")
    with pytest.raises(InputError, match="absent: expected a folder of XML files"):
        read(tmp_path / "absent", "ddi")


def test_ddi_counts_are_those_of_the_corpus(corpora, monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    data = find_data(load_task("ddi2013"))
    found = {split: data.read(split) for split in ("train", "dev", "test")}
    trained = Counter(e.label for split in ("train", "dev") for e in found[split])
    assert trained == {
        "DDI-false": 22216 + 1555,
        "DDI-effect": 1535 + 152,
        "DDI-mechanism": 1257 + 62,
        "DDI-advise": 818 + 8,
        "DDI-int": 178 + 10,
    }
    test = Counter(e.label for e in found["test"])
    wanted = {"DDI-false": 4737, "DDI-effect": 360, "DDI-mechanism": 302, "DDI-advise": 221, "DDI-int": 96}
    assert test == wanted
    documents = {split: {e.document for e in examples} for split, examples in found.items()}
    assert not documents["train"] & documents["dev"]
    assert all(
        e.spans == marks.marked(" ".join(e.texts[0]), "masks")[1]
        for examples in found.values()
        for e in examples
    )
    assert "DDI-DrugBank.d236.s29.p0" not in {e.id for split in ("train", "dev") for e in found[split]}


RECORD = "HISTORY :\nAspirin  eased the headache and fever .\nMRI showed a mass .\n"
CONCEPTS = """\
c="fever" 2:5 2:5||t="problem"
c="aspirin" 2:0 2:0||t="treatment"
c="the headache" 2:2 2:3||t="problem"
c="mri" 3:0 3:0||t="test"
c="mass" 3:3 3:3||t="problem"
c="a mass" 3:2 3:3||t="problem"
c="aspirin" 2:0 2:0||t="treatment"
c="fever . mri" 2:5 3:0||t="treatment"
"""
LINKS = """\
c="aspirin" 2:0 2:0||r="TrIP"||c="the headache" 2:2 2:3
c="aspirin" 2:0 2:0||r="TrAP"||c="the headache" 2:2 2:3
c="fever" 2:5 2:5||r="PIP"||c="the headache" 2:2 2:3
"""


def i2b2(folder, concepts=CONCEPTS, links=LINKS, name="r.1"):
    write(folder / "txt" / f"{name}.txt", RECORD)
    write(folder / "concept" / f"{name}.con", concepts)
    write(folder / "rel" / f"{name}.rel", links)
    return folder


def test_i2b2_pairs_the_concepts_of_a_line_that_can_relate(tmp_path):
    found = read(i2b2(tmp_path), "i2b2-2010")
    assert [(e.id, e.label) for e in found] == [
        ("r.1.2.3", "TrIP"),
        ("r.1.2.1", "false"),
        ("r.1.3.1", "PIP"),
        ("r.1.4.6", "false"),
        ("r.1.4.5", "false"),
        ("r.1.6.5", "false"),
    ]
    assert marked(found[0]) == (
        "@treatment$ eased @problem$ and fever .",
        [("@treatment$",), ("@problem$",)],
    )
    assert marked(found[2])[0] == "Aspirin eased @problem$ and @problem$ ."
    assert marked(found[3])[0] == "@test$ showed @problem$ ."
    assert marked(found[5]) == ("MRI showed @problem-problem$ .", [("@problem-problem$",)] * 2)


def test_i2b2_takes_a_folder_of_such_folders(tmp_path):
    i2b2(tmp_path / "one", name="a")
    i2b2(tmp_path / "two", name="b", links="")
    found = read(tmp_path, "i2b2-2010")
    assert [e.id.split(".")[0] for e in found] == ["a"] * 6 + ["b"] * 6
    assert {e.label for e in found[6:]} == {"false"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concepts": 'c="x" 2:0||t="test"\n'}, r"r.1.con:1: expected c=\"text\" L:T L:T\|\|t="),
        ({"concepts": 'c="x" 2:0 2:0||t="drug"\n'}, "r.1.con:1: expected"),
        ({"concepts": 'c="x" 2:0 2:7||t="test"\n'}, "r.1.con:1: the record has no word 2:7"),
        ({"concepts": 'c="x" 9:0 9:0||t="test"\n'}, "r.1.con:1: the record has no word 9:0"),
        ({"concepts": 'c="x" 2:3 2:1||t="test"\n'}, "r.1.con:1: ends before it starts"),
        ({"links": 'c="a" 2:0 2:0||TrAP\n'}, "r.1.rel:1: expected c=.*found"),
        (
            {"links": '\nc="a" 2:0 2:0||r="TrXP"||c="b" 2:2 2:3\n'},
            "unknown relation at .*r.1.rel:2 'TrXP'; did you mean",
        ),
        (
            {"links": 'c="a" 2:0 2:0||r="TeRP"||c="b" 2:2 2:3\n'},
            r"r.1.rel:1: TeRP of what are no concepts \(test and problem\)",
        ),
        (
            {"links": 'c="a" 2:1 2:1||r="TrAP"||c="b" 2:2 2:3\n'},
            r"r.1.rel:1: TrAP of what are no concepts \(treatment and problem\)",
        ),
    ],
)
def test_malformed_i2b2_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read(i2b2(tmp_path, **changes), "i2b2-2010")


def test_i2b2_needs_all_its_files(tmp_path):
    with pytest.raises(InputError, match=r"no txt/\*.txt in this folder"):
        read(tmp_path, "i2b2-2010")
    (i2b2(tmp_path) / "rel" / "r.1.rel").unlink()
    with pytest.raises(InputError, match="r.1.rel: No such file"):
        read(tmp_path, "i2b2-2010")


ROWS = 'a.1\tThe "@DRUG$"/@DRUG$ mix.\tDDI-int\na.2\tOf @DRUG-DRUG$, none.\tDDI-false\n'


@pytest.mark.parametrize("header", ["index\tsentence\tlabel\n", ""])
def test_blue_tables_with_and_without_a_header(tmp_path, header):
    path = write(tmp_path / "train.tsv", header + ROWS.replace("\n", "\r\n"))
    first, second = read(path, "blue-relation")
    assert (first.id, first.label) == ("a.1", "DDI-int")
    assert marked(first) == ('The " @DRUG$ "/ @DRUG$ mix.', [("@DRUG$",)] * 2)
    assert (second.id, second.spans) == ("a.2", ((1, 2), (1, 2)))


def test_blue_columns_go_by_the_header(tmp_path):
    path = write(tmp_path / "x.tsv", "label\tid\ttext\nyes\t5\t@DRUG$ @DRUG$\n")
    columns = {"id": "id", "text_a": "text"}
    (found,) = read(path, "blue-relation", columns=columns, label_map={"yes": "DDI-int"})
    assert (found.id, found.label, found.spans) == ("5", "DDI-int", ((0, 1), (1, 2)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n", "x.tsv:1: 2 columns, expected index, sentence, label"),
        (ROWS + "a.3\tno masks\tDDI-int\n", "x.tsv:3: expected two masks, .*found 0"),
        (ROWS + "a.3\t@DRUG$ @DRUG$\t\n", "x.tsv:3: no label"),
    ],
)
def test_a_malformed_blue_row_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "x.tsv", text), "blue-relation")


@pytest.mark.parametrize("name", ["chemprot", "ddi2013", "i2b2-2010"])
def test_the_blue_tables_stand_in_for_the_published_files(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MICROTOME_DATA", str(tmp_path))
    task = load_task(name)
    for split in ("train", "dev", "test"):
        row = f"index\tsentence\tlabel\n{split}.1.2\t@A$ and @B$\t{task.labels[-1]}\n"
        write(tmp_path / name / f"{split}.tsv", row)
    data = find_data(task)
    assert data.spec.format == "blue-relation"
    assert [data.read(split)[0].id for split in ("train", "dev", "test")] == [
        "train.1.2",
        "dev.1.2",
        "test.1.2",
    ]
