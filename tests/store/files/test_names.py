"""A name, whatever it holds, becomes the name of a folder that every file system takes."""

import re

import pytest

from microtome.store.artifacts.store import Request, Store
from microtome.store.files.names import LONGEST, folder_name

NAMES = [
    "bert",
    "small-ner.bert.f030.s1",
    "org/mymodel",
    "./m/x",
    "../../../escaped/evil",
    "..",
    ".",
    "",
    " ",
    "/",
    "~",
    "-rf",
    ".hidden",
    "a\0b",
    "a\nb\tc",
    'a:b*c?d"e<f>g|h\\i',
    "con",
    "NUL.txt",
    "com1.model",
    "name.",
    "名前",
    "modèle",
    "🧬" * 300,
    "x" * 10_000,
    "é" * 10_000,
    "\udcff",
    "[a-z]*",
    "%s{x}$HOME`id`",
    "ﷺ" * 200,
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_every_name_is_a_short_plain_name(name):
    found = folder_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+=-]*", found)
    assert len(found) <= LONGEST
    assert found.partition(".")[0].lower() not in ("con", "nul", "com1")
    assert folder_name(found) == found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("small-ner.bert.f030.s1", "small-ner.bert.f030.s1"),
        ("gpt2.sick.test.attention+hidden.separate", "gpt2.sick.test.attention+hidden.separate"),
        ("org/mymodel", "org_mymodel"),
        ("modèle médical", "modele_medical"),
        ("../../evil", "_evil"),
        ("", "_"),
        ("nul.txt", "_nul.txt"),
    ],
)
def test_a_plain_name_stays_and_another_can_be_read(name, expected):
    assert folder_name(name) == expected


def test_a_long_name_keeps_its_beginning_and_its_end():
    found = folder_name("task." + "m" * 500 + ".f030.s1")
    assert found.startswith("task.mmm")
    assert found.endswith("mmm.f030.s1")


def wanted(name, value=1):
    return Request("similarity", 1, {"value": value}, {}, name)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_artifact_may_be_called_anything(tmp_path, name):
    store = Store(tmp_path / "store")
    request = wanted(name)
    with store.begin(request) as staging:
        assert staging.path.parent == store.root / ".staging"
        longest = max(len(path.name.encode()) for path in staging.path.parent.iterdir())
        assert longest <= 143, "the shortest limit of a file system in use"
        (staging.path / "data.txt").write_text("x")
    log = store.log_path(request)
    assert log.parent == store.root / "logs"
    assert len(log.name.encode()) <= 143
    made = store.find(request)
    assert made.path.parent == store.root / "similarity"
    assert store.open(made.path.name).id == request.id
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_names_that_are_alike_once_cleaned_stay_apart(tmp_path):
    store = Store(tmp_path)
    names = ["org/m", "org_m", "org\\m", "org m", "ORG_m"]
    requests = [wanted(name, value) for value, name in enumerate(names)]
    for request in requests:
        with store.begin(request):
            pass
    assert len({store.find(request).path.name.lower() for request in requests}) == len(names)
    assert len({str(store.log_path(request)).lower() for request in requests}) == len(names)
