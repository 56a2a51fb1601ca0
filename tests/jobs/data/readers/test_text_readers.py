import csv
import json
from collections import Counter

import pytest

from microtome.jobs.data.readers import READERS, read_examples
from microtome.jobs.data.readers.hoc import HALLMARKS
from microtome.jobs.data.readers.share_clefe import split_mentions
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.tasks import TASKS
from microtome.jobs.yaml_files import load_yaml
from microtome.store.errors import InputError

FORMATS = "biosses boolean-classes covid-stop-reasons hoc medsts pubmedqa share-clefe trials".split()


def read(path, form, **spec):
    return read_examples(path, DataSpec(format=form, files={"train": path.name}, **spec))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def rows(path, *cells, separator="\t"):
    return write(path, "".join(separator.join(row) + "\n" for row in cells))


def task_spec(name, also=None):
    """The DataSpec of a task file, so that the files that come with microtome are what is tested."""
    values = load_yaml(TASKS / f"{name}.yaml")
    return DataSpec.parse(values["data"] if also is None else values["also"][also], where=name)


def read_split(folder, spec, split="train"):
    return READERS[spec.format]((folder / spec.files[split]).resolve(), spec)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_there_is_one_line(tmp_path, form):
    with pytest.raises(InputError, match="absent.*[Nn]o such f"):
        read(tmp_path / "absent.x", form)


# Hallmarks of Cancer

BITS = "0_0,1_0,2_0,3_0,4_0,5_0,6_0,7_0,8_0,9_0"


def test_hoc_names_the_hallmarks_of_a_sentence(tmp_path):
    path = rows(
        tmp_path / "a.tsv",
        ("labels", "sentence", "index"),
        (BITS, 'say\u2009"no', "7_s0"),
        (BITS.replace("2_0", "2_1").replace("9_0", "9_1"), "cells grow", "7_s1"),
    )
    none, both = read(path, "hoc")
    assert (none.id, none.texts, none.label) == ("7_s0", (("say", '"no'),), ())
    assert (both.id, both.label) == ("7_s1", ("cellular energetics", "tumor promoting inflammation"))


def test_the_hoc_task_has_the_classes_of_its_reader():
    assert tuple(load_yaml(TASKS / "hoc.yaml")["labels"]) == HALLMARKS


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (BITS[:-4], ":2: expected labels '0_x,1_x,...,9_x' with x 0 or 1, found '0_0,1_0"),
        (BITS.replace("3_0", "3_2"), ":2: expected labels"),
        (BITS.replace("3_0", "4_0"), ":2: expected labels"),
        ("", ":2: expected labels .* found ''"),
    ],
)
def test_bad_hoc_labels_are_named(tmp_path, bits, message):
    path = rows(tmp_path / "a.tsv", ("labels", "sentence", "index"), (bits, "x", "7_s0"))
    with pytest.raises(InputError, match=message):
        read(path, "hoc")


def test_a_table_without_a_column_says_which(tmp_path):
    path = rows(tmp_path / "a.tsv", ("labels", "sentences", "index"), (BITS, "x", "7_s0"))
    with pytest.raises(InputError, match="unknown column in .*a.tsv:1 'sentence'; did you mean 'sentences'"):
        read(path, "hoc")


def test_counts_of_hoc(corpora):
    counts = {
        "train": (12119, 9034, (448, 185, 136, 219, 268, 523, 238, 602, 674, 375), 1295),
        "dev": (1798, 1337, (64, 20, 44, 11, 23, 103, 60, 72, 85, 45), 186),
        "test": (3547, 2650, (155, 21, 33, 65, 75, 142, 60, 158, 234, 98), 371),
    }
    for split, wanted in counts.items():
        found = read_split(corpora / "hoc", task_spec("hoc"), split)
        names = Counter(name for e in found for name in e.label)
        abstracts = {e.id.rpartition("_s")[0] for e in found}
        no_label = sum(not e.label for e in found)
        assert (len(found), no_label, tuple(names[n] for n in HALLMARKS), len(abstracts)) == wanted


# Sentence similarity


def test_biosses_score_is_the_mean_of_five(tmp_path):
    header = ("sentence_id", "sentence_1", "sentence_2", *(f"annotator_{a}" for a in "abcde"))
    path = rows(tmp_path / "a.tsv", header, ("3", "\u03b1\u00a0grows ", ' "so', "4", "3", "3", "2", "2"))
    (found,) = read(path, "biosses")
    assert (found.id, found.texts, found.label) == ("3", (("\u03b1", "grows"), ('"so',)), 2.8)
    rows(path, header, ("3", "a", "b", "4", "3", "", "2", "2"))
    with pytest.raises(InputError, match=":2: '' is no number"):
        read(path, "biosses")


def test_counts_of_biosses(corpora):
    spec = task_spec("biosses")
    split = {name: read_split(corpora / "biosses", spec, name) for name in ("train", "dev", "test")}
    assert {name: len(found) for name, found in split.items()} == {"train": 64, "dev": 16, "test": 20}
    raw = read_split(corpora / "biosses", task_spec("biosses", also=0))
    assert len(raw) == 100
    averaged = {e.id: e for found in split.values() for e in found}
    for example in raw:
        assert example.label == pytest.approx(averaged[example.id].label)
        assert example.texts == averaged[example.id].texts


def test_medsts_is_the_last_three_columns(tmp_path):
    header = ("index", "genre", "sentence1", "sentence2", "score")
    path = rows(tmp_path / "a.tsv", header, ("9", "x", 'one "two', "three", "4.5"), ("7", "x", "a", "b", "0"))
    first, second = read(path, "medsts")
    assert (first.id, first.texts, first.label) == ("0", (("one", '"two'), ("three",)), 4.5)
    assert (second.id, second.label) == ("1", 0.0)
    rows(path, header, ("9", "x", "a", "b", "high"))
    with pytest.raises(InputError, match=":2: 'high' is no number"):
        read(path, "medsts")
    rows(path, header, ("9", "x", "a", "b"))
    with pytest.raises(InputError, match=":2: 4 columns, the header has 5"):
        read(path, "medsts")
    rows(path, ("a", "b"), ("1", "2"))
    with pytest.raises(InputError, match=":2: expected sentence1, sentence2 and score, found 2 columns"):
        read(path, "medsts")


# Entities: the four columns of BLUE

BLUE = 'High\tn1\t0\tB\nfever\t-\t5\tI\n""""\t-\t11\tO\nlegs\t-\t12\tI\n\nNone\tn1\t20\tO\n'


def test_tags_without_a_type_get_that_of_the_task(tmp_path):
    first, second = read(write(tmp_path / "a.tsv", BLUE), "conll", entity="Disorder")
    assert first.texts == (("High", "fever", '"', "legs"),)
    assert first.label == ("B-Disorder", "I-Disorder", "O", "B-Disorder")
    assert (second.texts, second.label) == ((("None",),), ("O",))
    with pytest.raises(InputError, match=r":1: 'B' is no IOB2 tag \(O, B-type or I-type\)"):
        read(tmp_path / "a.tsv", "conll")


def test_tags_with_a_type_stay_strict_beside_it(tmp_path):
    path = write(tmp_path / "a.tsv", "a\tB-Disease\nb\tI-Disease\n")
    assert read(path, "conll", entity="Other")[0].label == ("B-Disease", "I-Disease")
    with pytest.raises(InputError, match=":1: 'I-Disease' continues no entity"):
        read(write(path, "b\tI-Disease\n"), "conll", entity="Disease")


def test_counts_of_bc5cdr_chemical(corpora):
    counts = {"train": (4560, 118170, 5203), "dev": (4581, 117453, 5347), "test": (4797, 124750, 5385)}
    for split, wanted in counts.items():
        found = read_split(corpora / "bc5cdr-chemical", task_spec("bc5cdr-chemical"), split)
        entities = sum(tag == "B-Chemical" for e in found for tag in e.label)
        assert (len(found), sum(e.words for e in found), entities) == wanted


# ShARe/CLEF as released

NOTE = "Chest pain, denied.\n\nSevere low\nback-pain of legs and arms.\n"


def share_clefe(folder, *annotations, note=NOTE, name="n1-NOTE.txt"):
    write(folder / "text" / "n1-NOTE.txt", note)
    write(folder / "text" / "n2-NOTE.txt", "Well.\n")
    write(folder / "annotations" / "n1-NOTE.pipe.txt", "".join(f"{name}||{a}\n" for a in annotations))
    return folder


def spans(*words, note=NOTE):
    """`type||CUI||start||end...` of words of the note."""
    offsets = [str(at) for word in words for at in (note.index(word), note.index(word) + len(word))]
    return "||".join(("Disease_Disorder", "C0000001", *offsets))


def test_share_clefe_lines_become_tagged_examples(tmp_path):
    folder = share_clefe(tmp_path, spans("Chest pain"), spans("legs", "arms"), spans("pain of"))
    first, second, third, other = read(folder, "share-clefe")
    assert first.texts == (("Chest", "pain", ",", "denied", "."),)
    assert first.label == ("B-Disorder", "I-Disorder", "O", "O", "O")
    assert second.label == ("O", "O")
    assert third.texts == (("back", "-", "pain", "of", "legs", "and", "arms", "."),)
    assert third.label == ("O", "O", "B-Disorder", "I-Disorder", "O", "O", "O", "O")
    assert (other.texts, other.label) == ((("Well", "."),), ("O", "O"))
    assert [e.id for e in (first, second, third, other)] == [
        "n1-NOTE_0",
        "n1-NOTE_2",
        "n1-NOTE_3",
        "n2-NOTE_0",
    ]
    assert (first.document, other.document) == ("n1-NOTE", "n2-NOTE")
    assert split_mentions(folder) == 1


def test_share_clefe_mentions_over_lines_inside_words_and_inside_others(tmp_path):
    folder = share_clefe(
        tmp_path, spans("low\nback"), spans("ack-pain of le"), spans("Chest"), spans("Chest pain")
    )
    first, second, third, _ = read(folder, "share-clefe", entity="X")
    assert first.label == ("B-X", "I-X", "O", "O", "O")  # the longer of two that start together
    assert second.label == ("O", "B-X")
    assert third.label == ("B-X", "O", "O", "O", "O", "O", "O", "O")  # the one that starts first


def test_share_clefe_offsets_count_carriage_returns(tmp_path):
    note = NOTE.replace("\n", "\r\n")
    *_, third, _ = read(share_clefe(tmp_path, spans("legs", note=note), note=note), "share-clefe")
    assert [word for word, tag in zip(third.texts[0], third.label, strict=True) if tag != "O"] == ["legs"]


@pytest.mark.parametrize(
    ("annotation", "options", "message"),
    [
        (
            "D||C1||0",
            {},
            r"pipe.txt:1: expected 'file\|\|type\|\|CUI\|\|start\|\|end', found 'n1-NOTE.txt\|\|D",
        ),
        ("D||C1||0||5||9", {}, ":1: expected"),
        ("D||C1||a||b", {}, ":1: expected"),
        ("D||C1||5||5", {}, ":1: expected"),
        ("D||C1", {}, ":1: expected"),
        ("D||C1||0||999", {}, ":1: ends beyond its note of 60 characters"),
        ("D||C1||0||5", {"name": "n9.txt"}, ":1: there is no such note in .*text"),
    ],
)
def test_bad_share_clefe_annotations_are_named(tmp_path, annotation, options, message):
    with pytest.raises(InputError, match=message):
        read(share_clefe(tmp_path, annotation, **options), "share-clefe")


# PubMedQA


def pubmedqa(folder, answers, **changes):
    item = {
        "QUESTION": "Does it help?",
        "CONTEXTS": ["It was  given.", "It helped."],
        "final_decision": "yes",
    }
    items = dict.fromkeys(("11", "12", "13"), item | changes)
    write(folder / "test_ground_truth.json", json.dumps(answers))
    return write(folder / "ori_pqal.json", json.dumps(items))


def test_pubmedqa_keeps_the_test_questions_apart(tmp_path):
    path = pubmedqa(tmp_path, {"13": "maybe", "11": "no"})
    (train,) = read(path, "pubmedqa")
    assert (train.id, train.label) == ("12", "yes")
    assert train.texts == (("Does", "it", "help?"), ("It", "was", "given.", "It", "helped."))
    test = read(path.with_name("test_ground_truth.json"), "pubmedqa")
    assert [(e.id, e.texts, e.label) for e in test] == [
        ("13", train.texts, "maybe"),
        ("11", train.texts, "no"),
    ]


@pytest.mark.parametrize(
    ("answers", "changes", "message"),
    [
        ({"11": "no"}, {"final_decision": None}, "ori_pqal.json: item 12: no label"),
        (["11"], {}, "ground_truth.json: expected an object keyed by PMID, found list"),
    ],
)
def test_bad_pubmedqa_files_are_named(tmp_path, answers, changes, message):
    with pytest.raises(InputError, match=message):
        read(pubmedqa(tmp_path, answers, **changes), "pubmedqa")


def test_pubmedqa_test_items_must_be_asked(tmp_path):
    path = pubmedqa(tmp_path, {"99": "no"}).with_name("test_ground_truth.json")
    with pytest.raises(InputError, match="item 99: expected an object in ori_pqal.json, found none"):
        read(path, "pubmedqa")
    path = write(tmp_path / "ori_pqal.json", '{"11": {"QUESTION": "a"}}').with_name("ori_pqal.json")
    with pytest.raises(InputError, match="item 11: has no CONTEXTS"):
        read(path, "pubmedqa")
    with pytest.raises(InputError, match="ori_pqal.json:1: not JSON"):
        read(write(path, "{"), "pubmedqa")


def test_counts_of_pubmedqa(corpora):
    counts = {"train": {"yes": 276, "no": 169, "maybe": 55}, "test": {"yes": 276, "no": 169, "maybe": 55}}
    found = {s: read_split(corpora / "pubmedqa", task_spec("pubmedqa"), s) for s in ("train", "test")}
    assert {split: dict(Counter(e.label for e in examples)) for split, examples in found.items()} == counts
    assert not {e.id for e in found["train"]} & {e.id for e in found["test"]}
    assert len(json.loads((corpora / "pubmedqa" / "ori_pqal.json").read_text())) == 1000


# Stop reasons


def table(path, header, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *cells])
    return path


def test_boolean_columns_are_the_classes(tmp_path):
    path = table(
        tmp_path / "a.csv",
        ("trial", "text", "phase", "Negative", "Covid19"),
        ("N1", 'too few, "really"\nfew', "2", "TRUE", "0"),
        ("N2", "pandemic", "3", "False", "1"),
        ("N3", "none", "1", "false", "0"),
    )
    found = read(path, "boolean-classes", columns={"text_a": "text", "id": "trial"})
    assert [(e.id, e.label) for e in found] == [("N1", ("Negative",)), ("N2", ("Covid19",)), ("N3", ())]
    assert found[0].texts == (("too", "few,", '"really"', "few"),)
    assert [e.id for e in read(path, "boolean-classes")] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ((("a", "true"), ("b", "perhaps")), ":3: 'Negative' is 'perhaps', not true or false"),
        ((("a", "5"),), "a.csv: no column holds only true and false"),
        ((("a", "1"), (" ", "0")), ":3: an empty text"),
        ((("a", "1"), ("b", "0", "c")), ":3: 3 columns, the header has 2"),
    ],
)
def test_bad_tables_of_booleans_are_named(tmp_path, cells, message):
    with pytest.raises(InputError, match=message):
        read(table(tmp_path / "a.csv", ("text", "Negative"), *cells), "boolean-classes")


def test_a_file_that_is_no_csv_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a.csv:2: not CSV \("):
        read(write(tmp_path / "a.csv", 'text,Negative\n"a" b,1\n'), "boolean-classes")


COVID = ("nctid", "stop_status", "why_stopped", "covid19_explicit", "restart_expected")


def test_covid_stop_reasons_of_trials_that_say_why(tmp_path):
    path = table(
        tmp_path / "a.csv",
        COVID,
        ("N1", "Suspended", "the pandemic, for now", "TRUE", "TRUE"),
        ("N2", "Suspended", "NA", "FALSE", "NA"),
        ("N1", "Terminated", "the pandemic", "TRUE", "FALSE"),
        ("N3", "Withdrawn", "money", "FALSE", "NA"),
    )
    found = read(path, "covid-stop-reasons")
    assert [(e.id, e.label) for e in found] == [
        ("N1_0", ("covid19_explicit", "restart_expected")),
        ("N1_2", ("covid19_explicit",)),
        ("N3_3", ()),
    ]
    assert found[0].texts == (("the", "pandemic,", "for", "now"),)
    table(path, COVID, ("N1", "Suspended", "x", "TRUE", "later"))
    with pytest.raises(InputError, match=":2: 'restart_expected' is 'later', not TRUE, FALSE or NA"):
        read(path, "covid-stop-reasons")


def test_counts_of_covid_stop_reasons(corpora):
    found = read_split(corpora / "stop-reasons-covid", task_spec("stop-reasons-covid"))
    assert len(found) == 13323 - 478
    counts = Counter(name for e in found for name in e.label)
    assert counts == {"covid19_explicit": 3226, "restart_expected": 742}


# Trials

NEW = ("NCT Number", "Study Title", "Brief Summary", "Conditions", "Interventions", "Sex")
OLD = ("Rank", "NCT Number", "Title", "Conditions", "Interventions", "Outcome Measures", "Gender")


def test_trials_of_the_present_export(tmp_path):
    path = table(
        tmp_path / "a.csv",
        NEW,
        ("N1", "A title", "One line.\nAnother, \u00a0too.", "Asthma|Cough", "DRUG: a|OTHER: b", "FEMALE"),
        ("N2", "Withheld", "", "", "", ""),
        ("N3", "x" * 200_000, "", "", "", "ALL"),
    )
    first, second, third = read(path, "trials")
    text = "A title One line. Another, too. Asthma Cough DRUG: a OTHER: b"
    assert (first.id, first.texts, first.label) == ("N1", (tuple(text.split()),), "Female")
    assert (second.texts, second.label) == ((("Withheld",),), "missing")
    assert (third.texts[0], third.label) == (("x" * 200_000,), "All")


def test_trials_of_the_old_export(tmp_path):
    path = table(tmp_path / "a.csv", OLD, ("1", "N1", "A title", "Asthma|Cough", "Drug: a", "deaths", "Male"))
    (found,) = read(path, "trials")
    text = "A title Asthma Cough Drug: a"
    assert (found.id, found.texts, found.label) == ("N1", (tuple(text.split()),), "Male")
    table(path, [name for name in OLD if name != "Gender"], ("1", "N1", "A title", "", "", ""))
    with pytest.raises(InputError, match="unknown column in .*a.csv 'Gender'"):
        read(path, "trials")


def test_trials_of_the_api(tmp_path):
    full = {
        "identificationModule": {"nctId": "N1", "briefTitle": "A title"},
        "descriptionModule": {"briefSummary": "One line."},
        "conditionsModule": {"conditions": ["Asthma", "Cough"], "keywords": ["k"]},
        "armsInterventionsModule": {"interventions": [{"type": "DRUG", "name": "a"}]},
        "eligibilityModule": {"eligibilityCriteria": "adults", "sex": "MALE"},
    }
    bare = {"identificationModule": {"nctId": "N2", "briefTitle": "Withheld"}}
    path = write(tmp_path / "a.json", json.dumps([{"protocolSection": full}, {"protocolSection": bare}]))
    first, second = read(path, "trials")
    text = "A title One line. Asthma Cough DRUG: a"
    assert (first.id, first.texts, first.label) == ("N1", (tuple(text.split()),), "Male")
    assert (second.texts, second.label) == ((("Withheld",),), "missing")
    with pytest.raises(InputError, match="record 0: no protocolSection.identificationModule.nctId"):
        read(write(path, '[{"protocolSection": {}}]'), "trials")
    with pytest.raises(InputError, match="expected a list of trials, found dict"):
        read(write(path, "{}"), "trials")


@pytest.mark.parametrize(
    ("also", "counts"),
    [
        (None, {"All": 867, "Female": 104, "Male": 26, "missing": 3}),
        (0, {"All": 3066, "Female": 76, "Male": 22, "missing": 5}),
        (1, {"All": 118, "Female": 10}),
    ],
)
def test_counts_of_trial_gender(corpora, also, counts):
    found = read_split(corpora / "trial-gender", task_spec("trial-gender", also))
    assert Counter(e.label for e in found) == counts
    assert all(e.words for e in found)
    assert len({e.id for e in found}) == len(found)


def test_an_export_without_summaries(corpora):
    found = read(corpora / "trial-gender" / "ctg_export_urology" / "ctg-studies.csv", "trials")
    assert Counter(e.label for e in found) == {"Male": 601, "All": 30, "Female": 4}
