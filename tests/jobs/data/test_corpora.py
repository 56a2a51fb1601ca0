import json
import tarfile

import datasets
import pandas as pd
import pytest
from datasets.exceptions import DatasetNotFoundError

from microtome.jobs.data.corpora import (
    SETTINGS,
    CorpusSpec,
    corpus_digest,
    corpus_identity,
    is_held_out,
    read_documents,
)
from microtome.store.errors import InputError, MissingError

TRIAL = {"protocolSection": {"descriptionModule": {"briefSummary": "short", "detailedDescription": "long"}}}
QUESTIONS = """<?xml version="1.0"?>
<Document><QAPairs>
<QAPair><Question> What is it ?</Question><Answer>A &lt;5 <b>thing</b> .
 More</Answer></QAPair>
<QAPair><Question>What else ?</Question><Answer/></QAPair>
<QAPair><Question>Who ?</Question></QAPair>
</QAPairs></Document>"""


def spec_of(path, form, **settings):
    return CorpusSpec.parse({"format": form, "path": str(path), **settings}, where="corpus")


def read(path, form, **settings):
    return list(read_documents(spec_of(path, form, **settings)))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Text


def test_a_folder_has_a_document_per_file_at_any_depth(tmp_path):
    write(tmp_path / "b.txt", "\ufeffsecond\r\nline")
    write(tmp_path / "a" / "z.txt", "first")
    write(tmp_path / "c.txt", " \n")
    write(tmp_path / "notes.md", "no")
    assert read(tmp_path, "text") == ["first", "second\nline"]
    assert read(tmp_path, "text", files="b*") == ["second\nline"]
    assert read(tmp_path / "b.txt", "text") == ["second\nline"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("../*.txt", "leaves the folder of the corpus"),
        ("../../outside/*", "leaves the folder of the corpus"),
        ("a/../../*.txt", "leaves the folder of the corpus"),
        ("/etc/*", "leaves the folder of the corpus"),
        ("", "is empty"),
        (" ", "is empty"),
        (".", "is no pattern"),
        ("a\0b", "cannot be part of it"),
        ("a**b", r"\*\* stands alone"),
    ],
)
def test_a_pattern_that_leaves_the_folder_is_refused(tmp_path, pattern, message):
    write(tmp_path / "secret.txt", "outside")
    write(tmp_path / "corpus" / "a.txt", "inside")
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "corpus", "text", files=pattern)
    assert "\n" not in str(caught.value)


def test_links_are_read_inside_the_folder_and_refused_outside(tmp_path):
    secret = write(tmp_path / "secret.txt", "outside")
    inside = write(tmp_path / "corpus" / "a.txt", "inside")
    link = tmp_path / "corpus" / "b.txt"
    link.symlink_to(inside)
    assert read(tmp_path / "corpus", "text") == ["inside", "inside"]
    for target, message in ((secret, "leaves the folder"), (link, "to nothing"), ("gone", "to nothing")):
        link.unlink()
        link.symlink_to(target)
        with pytest.raises(InputError, match=f"b.txt: is a link.* {message}"):
            read(tmp_path / "corpus", "text")
    (tmp_path / "linked").symlink_to(tmp_path / "corpus")
    link.unlink()
    assert read(tmp_path / "linked", "text") == ["inside"]


def test_a_pattern_for_a_file_is_refused(tmp_path):
    write(tmp_path / "a.txt", "text")
    with pytest.raises(InputError, match="a.txt: is no folder.*files, '\\*.txt'"):
        read(tmp_path / "a.txt", "text", files="*.txt")


ENTITIES = """<?xml version="1.0"?>
<!DOCTYPE d [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>
<d><QAPair><Question>q</Question><Answer>&b;</Answer></QAPair></d>"""


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("xml-qa", ENTITIES, "a.x:2: declares the entity 'a'"),
        ("xml-qa", "<?xml version='1.0' encoding='none-such'?><d/>", "a.x:1: not XML"),
        ("jsonl", "[" * 100_000, "a.x:1: JSON that is nested too deep"),
        ("jsonl", '{"t": "a", "t": "b"}', "a.x:1: not JSON .an object has the key 't' twice"),
        ("jsonl", '{"t": NaN}', "a.x:1: not JSON .NaN is no number"),
        ("jsonl", b'{"t": "a"}\n{"t": "\xff"}', "a.x:2: not UTF-8"),
        ("csv", "t,t\n1,2\n", "a.x:1: the header has the column 't' 2 times"),
        ("csv", 't,u\n1,"2\n3,4\n', "a.x:2: not CSV .a quote that never closes"),
        ("csv", "t\na\0b\n", "a.x:2: holds a NUL byte"),
        ("registry", "[" * 100_000, "a.x: JSON that is nested too deep"),
    ],
)
def test_files_that_are_meant_badly_are_one_line(tmp_path, form, text, message):
    write(tmp_path / "a.x", text)
    more = {"column": "t"} if form in ("jsonl", "csv") else {}
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "a.x", form, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("separator", "documents"),
    [
        ("none", ["a\nb\n\n \n\nc\n"]),
        ("line", ["a", "b", "c"]),
        ("blank_line", ["a\nb", "c"]),
    ],
)
def test_a_file_is_parted_as_asked(tmp_path, separator, documents):
    write(tmp_path / "a.txt", "a\r\nb\r\n\r\n \r\n\r\nc\r\n")
    assert read(tmp_path / "a.txt", "text", separator=separator) == documents


@pytest.mark.parametrize("separator", ["none", "line"])
def test_what_is_not_utf8_is_refused_or_read_in_the_encoding_that_is_named(tmp_path, separator):
    write(tmp_path / "a.txt", "Zoë")
    write(tmp_path / "b.txt", "Zoë \u2019".encode("cp1252"))
    with pytest.raises(
        InputError,
        match="b.txt:1: not UTF-8 at byte 2 of the line; set fallback_encoding to latin-1 or cp1252$",
    ):
        read(tmp_path, "text", separator=separator)
    assert read(tmp_path, "text", separator=separator, fallback_encoding="cp1252") == ["Zoë", "Zoë \u2019"]


# Columns


@pytest.fixture
def table(tmp_path):
    """The same rows as csv and jsonl: path(format)."""
    rows = [{"t": "one,\n two", "u": "x"}, {"t": "", "u": ""}, {"t": "", "u": "y"}, {"t": 'a "b"', "u": ""}]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\r\n\n" for row in rows))
    return lambda form: tmp_path / f"a.{form}"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_document_is_a_column_or_several(table, form):
    assert read(table(form), form, column="t") == ["one,\n two", 'a "b"']
    assert read(table(form), form, columns=["t", "u"]) == ["one,\n two\n\nx", "y", 'a "b"']
    assert read(table(form).parent, form, column="u") == ["x", "y"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_unknown_column_names_the_nearest(tmp_path, form):
    write(tmp_path / "a.csv", "Brief Summary,Title\nx,y\n")
    write(tmp_path / "a.jsonl", '{"Brief Summary": "x", "Title": "y"}\n')
    with pytest.raises(
        InputError, match="a.*'Summary'; did you mean 'Brief Summary'\\? Known: Brief Summary, T"
    ):
        read(tmp_path / f"a.{form}", form, column="Summary")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a.jsonl:2: not JSON"),
        ("[1]", "a.jsonl:2: expected an object, found list"),
        ('{"t": ["a"]}', "a.jsonl:2: 't' holds list, not text"),
        ('{"u": "a"}', "unknown column in .*a.jsonl:2 't'"),
    ],
)
def test_malformed_json_lines_are_one_line(tmp_path, line, message):
    write(tmp_path / "a.jsonl", '{"t": "a"}\n' + line + "\n")
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.jsonl", "jsonl", column="t")


def test_half_a_character_and_null_in_json(tmp_path):
    write(tmp_path / "a.jsonl", '{"t": "a\\ud800b \\ud83d\\ude00"}\n{"t": null}\n')
    assert read(tmp_path / "a.jsonl", "jsonl", column="t") == ["a\ufffdb \U0001f600"]


# Questions, abstracts, trials


def test_questions_without_an_answer_are_left_out(tmp_path):
    write(tmp_path / "1" / "a.xml", QUESTIONS)
    assert read(tmp_path, "xml-qa") == ["What is it ?\nA <5 thing .\n More"]


def test_abstracts_follow_their_titles(tmp_path):
    write(tmp_path / "a.tsv", '1\tA "title.\tText \u2028here.\r\n\r\n2\tOnly a title.\t\r\n')
    assert read(tmp_path / "a.tsv", "pubmed-tsv") == ['A "title.\nText \u2028here.', "Only a title."]


@pytest.mark.parametrize(
    "wrap", [lambda t: t, lambda t: [t, {"protocolSection": {}}], lambda t: {"studies": [t]}]
)
def test_trials_in_every_shape_of_the_api(tmp_path, wrap):
    write(tmp_path / "a.json", json.dumps(wrap(TRIAL)))
    assert read(tmp_path / "a.json", "registry") == ["short\n\nlong"]


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("xml-qa", "<a>\n<b></a>", "a.x:2: not XML"),
        ("xml-qa", "<a></a>", "no xml-qa document of 1 or more words"),
        ("pubmed-tsv", "1\ta\tb\n1\ta\n", "a.x:2: 2 columns, expected id, title and abstract"),
        ("pubmed-tsv", b"1\ta\t\xff\n", "a.x:1: not UTF-8"),
        ("registry", "[{", "a.x:1: not JSON"),
        ("registry", "3", "a.x: expected a list of trials, found int"),
        ("registry", '[{"protocolSection": []}]', "a.x: record 0: no protocolSection"),
        ("registry", '[{"title": 1}]', "a.x: record 0: no protocolSection"),
        ("text", " \n", "a.x: no text document of 1 or more words"),
    ],
)
def test_malformed_files_are_one_line(tmp_path, form, text, message):
    write(tmp_path / "a.x", text)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "a.x", form)
    assert "\n" not in str(caught.value)


# Every format


def test_synthetic_documents_follow_topic_and_seed():
    drawn = {
        (topic, seed): tuple(
            read_documents(CorpusSpec(format="synthetic", topic=topic, seed=seed, documents=3))
        )
        for topic in ("general", "biomedical")
        for seed in (1, 2)
    }
    assert len(set(drawn.values())) == 4
    assert {len(documents) for documents in drawn.values()} == {3}


def test_cleaning_comes_before_the_word_limit_and_the_cap(tmp_path):
    write(tmp_path / "a.txt", "[1]\none [2]\n two  words [3]\nthree of  them\nfour of them here\n")
    settings = {"separator": "line", "cleaning": ["citations", "one_line"], "min_words": 2}
    assert read(tmp_path / "a.txt", "text", **settings, documents=2) == ["two words", "three of them"]


def test_documents_are_read_as_they_are_asked_for(tmp_path):
    write(tmp_path / "a.jsonl", '{"t": "a"}\n{"t": "b"}\nnot json\n')
    documents = read_documents(spec_of(tmp_path / "a.jsonl", "jsonl", column="t"))
    assert [next(documents), next(documents)] == ["a", "b"]
    with pytest.raises(InputError, match="a.jsonl:3"):
        next(documents)
    assert read(tmp_path / "a.jsonl", "jsonl", column="t", documents=2) == ["a", "b"]


def test_a_path_is_also_looked_for_below_the_data_folder(tmp_path, monkeypatch):
    with pytest.raises(MissingError, match="no corpus at mine/a.txt \\(MICROTOME_DATA is not set\\)"):
        read("mine/a.txt", "text")
    monkeypatch.setenv("MICROTOME_DATA", str(tmp_path))
    with pytest.raises(MissingError, match=f"no corpus at mine/a.txt or {tmp_path}/mine/a.txt"):
        read("mine/a.txt", "text")
    write(tmp_path / "mine" / "a.txt", "below data")
    assert read("mine/a.txt", "text") == ["below data"]
    write(tmp_path / "here" / "mine" / "a.txt", "below here")
    monkeypatch.chdir(tmp_path / "here")
    assert read("mine/a.txt", "text") == ["below here"]


@pytest.mark.parametrize("form", [form for form, names in SETTINGS.items() if names[0] == "path"])
def test_a_folder_without_files_of_the_format(tmp_path, form):
    write(tmp_path / "a.odt", "x")
    column = {"column": "t"} if "column" in SETTINGS[form] else {}
    with pytest.raises(InputError, match=f"{tmp_path}: no \\*\\.\\w+ files"):
        read(tmp_path, form, **column)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "text"}, "format: text needs a path"),
        ({"format": "hub", "column": "t"}, "format: hub needs a hub"),
        ({"format": "csv", "path": "a"}, "format: csv needs either a column or columns"),
        ({"format": "csv", "path": "a", "column": "t", "columns": ["t"]}, "needs either a column or columns"),
        (
            {"format": "text", "path": "a", "column": "t"},
            "format: text has no column \\(it has path, files, sep",
        ),
        ({"format": "synthetic", "path": "a"}, "format: synthetic has no path"),
        ({"format": "synthetic", "cleaning": ["htm"]}, "unknown cleaning rule 'htm'; did you mean 'html'"),
        ({"format": "synthetic", "min_words": 0}, "min_words"),
        ({"format": "text", "path": "a", "files": "/etc/*"}, "files"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(InputError, match=f"corpus: .*{message}") as caught:
        CorpusSpec.parse(settings, where="corpus")
    assert "\n" not in str(caught.value)


# The hub


@pytest.fixture(params=["parquet", "jsonl"])
def dataset(request, tmp_path, monkeypatch):
    """A folder in the layout of a dataset on the hub, with three rows."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    rows = pd.DataFrame({"t": ["one", None, "three"], "n": [1, 2, 3]})
    if request.param == "parquet":
        rows.to_parquet(folder / "train.parquet")
    else:
        rows.to_json(folder / "train.jsonl", orient="records", lines=True)
    return folder


def hub(name, **settings):
    return list(read_documents(CorpusSpec.parse({"format": "hub", "hub": str(name), **settings}, "corpus")))


def test_a_dataset_is_streamed(dataset):
    assert hub(dataset, column="t") == ["one", "three"]
    assert hub(dataset, column="t", documents=1) == ["one"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": "text"}, "unknown column in dataset '.*': row 0 'text'.*Known: t, n"),
        ({"column": "n"}, "row 0: 'n' holds int, not text"),
        ({"column": "t", "split": "dev"}, "dataset '.*': Bad split: dev"),
        ({"column": "t", "config": "other"}, "dataset '.*': BuilderConfig 'other' not found"),
    ],
)
def test_what_a_dataset_does_not_have_is_one_line(dataset, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        hub(dataset, **settings)
    assert "\n" not in str(caught.value)


def test_what_datasets_has_kept_of_a_download_is_read_offline(tmp_path, monkeypatch):
    pd.DataFrame({"t": ["one", "two"]}).to_parquet(tmp_path / "a.parquet")
    kept = tmp_path / "kept"
    datasets.load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), cache_dir=kept)
    (arrow,) = kept.rglob("*.arrow")
    version = kept / "org___x" / "default" / "0.0.0" / "hash"
    version.parent.mkdir(parents=True)
    arrow.rename(arrow.with_name("x-train.arrow"))
    arrow.parent.rename(version)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", kept)
    assert hub("org/x", column="t") == ["one", "two"]


def test_archives_that_may_hold_pickles_are_refused(tmp_path):
    write(tmp_path / "a.t.txt", "a")
    with tarfile.open(tmp_path / "train.tar", "w") as archive:
        archive.add(tmp_path / "a.t.txt", "a.t.txt")
    (tmp_path / "a.t.txt").unlink()
    with pytest.raises(
        InputError, match="has webdataset files; only arrow, csv, json, parquet, text are read"
    ):
        hub(tmp_path, column="t")


def test_loading_scripts_are_refused(tmp_path):
    folder = tmp_path / "mine"
    write(folder / "mine.py", "raise SystemExit")
    with pytest.raises(InputError, match="scripts are no longer supported"):
        hub(folder, column="t")


def test_a_dataset_that_is_not_here_is_missing_offline():
    with pytest.raises(
        MissingError, match="dataset 'org/none' is not on this machine and HF_HUB_OFFLINE is set"
    ):
        hub("org/none", column="t")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ConnectionError("no route\nat all"), "dataset 'org/x': the hub could not be reached \\(no route\\)"),
        (DatasetNotFoundError("it"), "dataset 'org/x' does not exist on the hub, needs an agreement"),
        (OSError("broken\npipe"), "dataset 'org/x': could not be read \\(broken\\)"),
    ],
)
def test_what_the_hub_refuses_is_one_line(monkeypatch, failure, message):
    def refuse(*args, **settings):
        raise failure

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    with pytest.raises(MissingError, match=message) as caught:
        hub("org/x", column="t")
    assert "\n" not in str(caught.value)


def test_how_to_get_says_what_goes_where():
    spec = CorpusSpec(format="hub", hub="org/x", column="t")
    assert "dataset org/x" in spec.how_to_get()
    assert (
        "csv corpus at $MICROTOME_DATA/mine/a.csv," in spec_of("mine/a.csv", "csv", column="t").how_to_get()
    )


# Identity and hold-out


def test_the_digest_tells_documents_from_their_joined_text():
    corpora = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["c", "ab"], [], ["\ud800"]]
    assert len({corpus_digest(iter(documents)) for documents in corpora}) == len(corpora)
    assert corpus_digest(iter(["ab", "c"])) == corpus_digest(["ab", "c"])
    assert len(corpus_digest([])) == 64


def test_the_identity_is_of_the_documents_not_of_where_they_lie(tmp_path):
    write(tmp_path / "a" / "1.txt", "one")
    write(tmp_path / "a" / "2.txt", "two")
    write(tmp_path / "b.jsonl", '{"t": "one"}\n{"t": "two"}\n')
    identity = corpus_identity(spec_of(tmp_path / "a", "text"))
    assert identity == corpus_identity(spec_of(tmp_path / "b.jsonl", "jsonl", column="t"))
    write(tmp_path / "a" / "2.txt", "two ")
    assert identity != corpus_identity(spec_of(tmp_path / "a", "text"))
    assert identity == corpus_identity(spec_of(tmp_path / "a", "text", cleaning=["one_line"]))


def test_about_the_share_is_held_out_and_equal_documents_stay_together():
    documents = [f"document {number}" for number in range(4000)]
    sides = [is_held_out(document, 0.2, seed=1) for document in documents]
    assert 0.16 < sum(sides) / len(sides) < 0.24
    assert sides == [is_held_out(document, 0.2, seed=1) for document in documents]
    other = [is_held_out(document, 0.2, seed=2) for document in documents]
    both = sum(a and b for a, b in zip(sides, other, strict=True))
    assert 0.02 < both / len(sides) < 0.06, "seeds are independent"
    assert all(
        is_held_out(document, 0.5, seed=1) for document, side in zip(documents, sides, strict=True) if side
    )


# The real corpora


@pytest.mark.parametrize(
    ("path", "form", "settings", "count"),
    [
        ("biomedical-text/craft_txt", "text", {}, 97),
        ("biomedical-text/medquad", "xml-qa", {}, 2480),
        ("biomedical-text/mtsamples", "csv", {"column": "transcription"}, 317),
        ("chemprot/biocreative_vi", "pubmed-tsv", {"files": "*_abstracts*.tsv"}, 2432),
        ("chemprot/jsonl/dev.txt", "jsonl", {"column": "text"}, 2427),
        ("general-text/state_union", "text", {"fallback_encoding": "latin-1"}, 65),
        ("general-text/inaugural", "text", {"fallback_encoding": "latin-1"}, 59),
        ("trial-gender/ctg_api_json", "registry", {}, 128),
        ("trial-gender/ctg_export_new", "csv", {"columns": ["Study Title", "Brief Summary"]}, 1000),
        ("trial-gender/ctg_export_old", "csv", {"column": "Title"}, 3169),
    ],
)
def test_every_document_of_the_corpora_is_read(corpora, monkeypatch, path, form, settings, count):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    documents = read(path, form, **settings)
    assert len(documents) == count
    assert all(document.strip() for document in documents)


def test_general_text_is_parted_and_cleaned(corpora, monkeypatch):
    monkeypatch.setenv("MICROTOME_DATA", str(corpora))
    path = "general-text/wikitext-2/valid.txt"
    whole = read(path, "text")
    lines = read(path, "text", separator="line")
    long = read(path, "text", separator="line", min_words=20)
    assert len(whole) == 1
    assert " ".join(lines).split() == whole[0].split()
    assert 0 < len(long) < len(lines)


def test_a_dataset_at_a_commit_is_known_by_the_commit_and_read_only_when_needed():
    spec = CorpusSpec(format="hub", hub="org/absent", revision="a" * 40, column="text")
    identity = corpus_identity(spec)
    assert identity != corpus_identity(spec.model_copy(update={"revision": "b" * 40}))
    assert identity != corpus_identity(spec.model_copy(update={"cleaning": ("unicode",)}))
    with pytest.raises(MissingError):
        corpus_identity(spec.model_copy(update={"revision": "main"}))
