"""Nothing that is not ours is read as an artifact or removed; what is damaged stands in nobody's way."""

import json
import shutil

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.reader import open_cache
from microtome.store.errors import InputError, MicrotomeError, MissingError, StoreError
from microtome.store.files.operations import write_json

PROJECT = {"name": "my-web-site", "version": "1.0.0", "id": "x", "kind": "probe"}


def request(value=1, slug="thing", **more):
    return Request("probe", 1, {"value": value}, {"train": "aa"}, slug, **more)


def make(store, wanted):
    with store.begin(wanted) as staging:
        (staging.path / "data.txt").write_text("x")
    return store.find(wanted)


def call(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def everything(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture
def store():
    return Store()


def project(folder):
    """A folder of somebody's own with sources and a JSON file that is called as ours."""
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "index.js").write_text("work of years")
    (folder / "manifest.json").write_text(json.dumps(PROJECT))
    return folder


@pytest.mark.parametrize(
    "name",
    ["web", "web-12345678", "store/web-12345678", "store/logs", "store/.staging", "store/.x/a-12345678"],
)
@pytest.mark.parametrize("command", ["rm", "show"])
def test_a_folder_that_is_not_ours_is_neither_read_nor_removed(tmp_path, store, monkeypatch, name, command):
    made = make(store, request())
    folder = project(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = everything(tmp_path)
    for reference in (name, f"./{name}", folder, f"{made.path}/../../../{name}", folder / "src"):
        result = call("cache", command, reference)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert everything(tmp_path) == before


@pytest.mark.parametrize("reference", [".", "..", "/", "", "~", "store", "store/probe"])
def test_rm_of_a_place_is_refused(tmp_path, store, monkeypatch, reference):
    make(store, request())
    monkeypatch.chdir(tmp_path)
    before = everything(tmp_path)
    assert call("cache", "rm", reference).exit_code == 2
    assert everything(tmp_path) == before


def test_rm_from_inside_the_artifact(tmp_path, store, monkeypatch):
    made = make(store, request())
    monkeypatch.chdir(made.path)
    monkeypatch.setenv("MICROTOME_STORE", str(store.root))
    assert call("cache", "rm", ".").exit_code == 0
    assert not made.path.exists()


@pytest.mark.parametrize("reference", ["path", "id", "short", "name", "whole", "relative"])
def test_rm_takes_every_way_to_name_an_artifact(tmp_path, store, monkeypatch, reference):
    made, other = make(store, request()), make(store, request(2, slug="other"))
    monkeypatch.chdir(tmp_path)
    words = {
        "path": made.path,
        "id": made.id,
        "short": made.id[:8],
        "name": made.path.name,
        "whole": made.name,
        "relative": f"./store/{made.name}",
    }
    result = call("cache", "rm", words[reference])
    assert result.stdout == f"removed {made.name}\n"
    assert [a.id for a in store.list()] == [other.id]


def test_if_one_of_several_cannot_be_removed_none_is(tmp_path, store):
    made = make(store, request())
    assert call("cache", "rm", made.id, project(tmp_path / "web")).exit_code == 2
    assert made.path.exists()


def copied(made, tmp_path, name=None):
    return shutil.copytree(made.path, tmp_path / "copies" / (name or made.path.name))


def test_a_copy_outside_is_read_and_never_removed(tmp_path, store):
    made = make(store, request())
    copy = copied(made, tmp_path)
    assert store.open(copy).id == made.id
    result = call("cache", "rm", copy)
    assert "is no artifact of the store" in result.stderr
    with pytest.raises(InputError, match="nothing else is removed"):
        store.remove(store.open(copy))
    assert copy.exists()
    assert made.path.exists()


def test_a_copy_is_read_with_its_own_name_only(tmp_path, store):
    made = make(store, request())
    with pytest.raises(StoreError, match=f"does not end in -{made.id[:8]}"):
        store.open(copied(made, tmp_path, "other-12345678"))
    with pytest.raises(MissingError, match="no artifact"):
        store.open(copied(made, tmp_path, "mine"))
    with pytest.raises(MicrotomeError):
        open_cache(copied(made, tmp_path, "again"))


# symbolic links --------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path):
    """A folder elsewhere with a whole artifact in it, and a file."""
    elsewhere = Store(tmp_path / "elsewhere")
    make(elsewhere, request(7))
    (elsewhere.root / "notes.txt").write_text("mine")
    return elsewhere.root


def test_an_artifact_that_is_a_link_is_none(store, outside):
    made = make(store, request())
    [real] = (outside / "probe").iterdir()
    (store.root / "probe" / real.name).symlink_to(real)
    before = everything(outside)
    assert [a.id for a in store.list()] == [made.id]
    assert store.find(request(7)) is None
    assert call("cache", "rm", f"probe/{real.name}").exit_code == 2
    assert call("cache", "rm", store.root / "probe" / real.name).exit_code == 2
    assert call("cache", "gc", "--older-than", "0").exit_code == 0
    with pytest.raises(StoreError, match="symbolic link"):
        make(store, request(7))
    assert everything(outside) == before


def test_a_kind_that_is_a_link_is_none(store, outside):
    store.root.mkdir()
    (store.root / "probe").symlink_to(outside / "probe")
    [real] = (outside / "probe").iterdir()
    (real / "manifest.json").write_text("{")
    before = everything(outside)
    assert store.list() == []
    assert store.find(request(7)) is None
    assert store.leftovers(("probe",), 0) == ()
    for reference in (real.name, f"probe/{real.name}", store.root / "probe" / real.name):
        assert call("cache", "rm", reference).exit_code == 2
    assert call("cache", "gc", "--older-than", "0").exit_code == 0
    with pytest.raises(StoreError, match="symbolic link"):
        make(store, request(1))
    assert everything(outside) == before


def test_a_staging_area_that_is_a_link_is_refused(store, outside):
    store.root.mkdir()
    (outside / "probe.thing-12345678.0").mkdir()
    (store.root / ".staging").symlink_to(outside)
    before = everything(outside)
    assert store.leftovers(("probe",), 0) == ()
    with pytest.raises(StoreError, match="symbolic link"):
        make(store, request())
    with pytest.raises(StoreError, match="symbolic link"):
        store.discard(store.root / ".staging" / "probe.thing-12345678.0")
    assert everything(outside) == before


@pytest.mark.parametrize("resumable", [False, True])
def test_a_staging_folder_that_is_a_link_is_refused(store, outside, resumable):
    area = store.root / ".staging"
    area.mkdir(parents=True)
    wanted = request()
    (area / f"probe.{wanted.folder}.0").symlink_to(outside)
    before = everything(outside)
    with pytest.raises(StoreError, match="symbolic link"), store.begin(wanted, resumable=resumable):
        pass
    assert store.leftovers(("probe",), 0) == ()
    assert everything(outside) == before


def test_a_lock_that_is_a_link_is_refused(store, outside):
    area = store.root / ".staging"
    area.mkdir(parents=True)
    wanted = request()
    (area / f"probe.{wanted.folder}.0.lock").symlink_to(outside / "new")
    with pytest.raises(StoreError):
        make(store, wanted)
    assert not (outside / "new").exists()


def test_what_links_lead_to_from_inside_an_artifact_stays(store, outside):
    made = make(store, request())
    (made.path / "link").symlink_to(outside)
    before = everything(outside)
    store.remove(made)
    assert not made.path.exists()
    assert everything(outside) == before


@pytest.mark.parametrize(
    "path", ["../elsewhere", "probe", "logs/x-12345678.log", "..", ".staging/mine", "a/b/c"]
)
def test_discard_takes_leftovers_only(store, outside, path):
    make(store, request())
    (store.root / ".staging").mkdir()
    (store.root / ".staging" / "mine").write_text("x")
    (store.root / "logs").mkdir()
    (store.root / "logs" / "x-12345678.log").write_text("x")
    before = everything(store.root.parent)
    with pytest.raises(MicrotomeError):
        store.discard(store.root / path)
    assert everything(store.root.parent) == before


def test_a_folder_in_staging_that_no_job_made_is_no_leftover(store):
    project(store.root / ".staging" / "mine")
    assert store.leftovers(("probe",), 0) == ()


def test_a_file_in_the_place_of_an_artifact_is_left_alone(store):
    place = store.root / "probe" / request().folder
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    with pytest.raises(StoreError, match="is in the way"):
        make(store, request())
    assert place.read_text() == "mine"


def test_an_artifact_whose_id_begins_alike_is_not_replaced(store, monkeypatch):
    """Eight digits are not the whole id: two artifacts may share them and their name."""
    first = make(store, request())
    other = request(2)
    monkeypatch.setattr(Request, "folder", property(lambda self: first.path.name))
    with pytest.raises(StoreError, match="begins alike"):
        make(store, other)
    assert (first.path / "data.txt").is_file()


def test_an_id_that_begins_alike_is_another(store):
    made, other = make(store, request()), request(2)
    other.__dict__["id"] = made.id[:8] + "0" * 56
    assert other.folder == made.path.name
    assert store.find(other) is None
    assert store.find_all([other]) == {}
    assert store.find_all([request(), other]) == {made.id: made}
    with pytest.raises(MissingError):
        store.open(other.id)
    with pytest.raises(MissingError):
        store.locate(other.id)


# damaged ---------------------------------------------------------------------------------------------------


def changed(**changes):
    return lambda text: json.dumps({**json.loads(text), **changes})


DAMAGES = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "list": lambda text: "[]",
    "number": lambda text: "7",
    "null": lambda text: "null",
    "foreign": lambda text: json.dumps(PROJECT),
    "deep": lambda text: "[" * 200_000,
    "deep-config": lambda text: text.replace('"value": 1', '"value": ' + "[" * 900 + "]" * 900),
    "huge-number": lambda text: text.replace('"value": 1', '"value": ' + "1" * 10_000),
    "other-config": lambda text: text.replace('"value": 1', '"value": 2'),
    "infinite-config": lambda text: text.replace('"value": 1', '"value": Infinity'),
    "id": changed(id="0" * 64),
    "id-number": changed(id=5),
    "kind": changed(kind="extract"),
    "kind-list": changed(kind=["probe"]),
    "version-text": changed(version="1"),
    "version-true": changed(version=True),
    "config-null": changed(config=None),
    "inputs-list": changed(inputs=[]),
    "inputs-number": changed(inputs={"train": 1}),
    "labels-text": changed(labels="x"),
    "outputs-null": changed(outputs=None),
    "provenance-null": changed(provenance=None),
    "provenance-empty": changed(provenance={}),
    "no-outputs": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "outputs"}),
}


def damaged_in(store, how):
    """A store of a whole artifact and a damaged one: (whole, folder of the damaged one)."""
    bad, whole = make(store, request(1, slug="bad")), make(store, request(3))
    path = bad.path / "manifest.json"
    if how == "bytes":
        path.write_bytes(b"\xff\xfe\x00")
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "link":
        path.rename(bad.path / "moved.json")
        path.symlink_to("moved.json")
    elif how == "large":
        with path.open("r+b") as stream:
            stream.truncate(65 << 20)
    elif how == "renamed":
        return whole, bad.path.rename(bad.path.with_name("bad-12345678"))
    else:
        path.write_text(DAMAGES[how](path.read_text()))
    return whole, bad.path


HOW = [*DAMAGES, "bytes", "folder", "link", "large", "renamed"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_manifest_blocks_nothing_and_can_be_removed(store, how):
    whole, bad = damaged_in(store, how)
    result = call("cache", "ls")
    assert result.exit_code == 0
    assert whole.id[:8] in result.stdout
    assert bad.name not in result.stdout
    [line] = result.stderr.splitlines()
    assert line.startswith(f"warning: probe/{bad.name} is damaged and left out: ")
    assert f"microtome cache rm probe/{bad.name}" in line
    assert store.open(whole.id).path == whole.path
    assert store.find(request(1)) is None
    shown = call("cache", "show", bad.name)
    assert shown.exit_code == 2
    assert shown.stderr.count("\n") == 1
    dry = call("cache", "gc", "--older-than", "0", "--dry-run")
    assert f"would remove probe/{bad.name} (damaged: " in dry.stdout
    assert call("cache", "rm", bad.name).stdout == f"removed probe/{bad.name}\n"
    assert not bad.exists()
    assert whole.path.exists()


@pytest.mark.parametrize("how", ["cut", "folder", "renamed"])
def test_gc_removes_what_is_damaged_and_nothing_else(store, how):
    whole, bad = damaged_in(store, how)
    assert f"removed probe/{bad.name} (damaged: " in call("cache", "gc", "--older-than", "0").stdout
    assert [path.name for path in (store.root / "probe").iterdir()] == [whole.path.name]


def test_gc_spares_what_was_damaged_lately(store):
    _, bad = damaged_in(store, "cut")
    assert "removed 0 folders" in call("cache", "gc").stdout
    assert bad.exists()


@pytest.mark.parametrize("how", ["cut", "other-config", "folder"])
def test_running_a_damaged_job_again_repairs_it(store, how):
    _, bad = damaged_in(store, how)
    assert make(store, request(1, slug="bad")).path == bad
    assert store.open(bad.name).manifest["config"] == {"value": 1}


def test_a_damaged_artifact_is_told_of_once(store, capsys):
    damaged_in(store, "cut")
    for _ in range(3):
        store.list()
    assert capsys.readouterr().err.count("\n") == 1


def test_a_reference_that_several_artifacts_answer_to_is_an_error_that_says_so(store):
    for value in (1, 2):
        config = {"value": value}
        wanted = Request("extract", 1, config, {}, "same")
        with store.begin(wanted):
            pass
    names = [a.path.name for a in store.list()]
    for name in names:
        shutil.copytree(store.root / "extract" / name, store.root / "probe" / name)
    assert call("cache", "show", names[0]).exit_code == 0  # the other one is damaged: not of its kind
    result = call("cache", "rm", names[0])
    assert "ambiguous" in result.stderr
    assert call("cache", "rm", f"extract/{names[0]}").exit_code == 0


@pytest.mark.parametrize(
    "reference", ["a" * 300, "x/" * 3000, "nul\0nul", "~nobody-at-all/x", "loop/x", "é" * 200]
)
def test_a_reference_that_is_no_name_of_a_file_is_one_line(tmp_path, store, monkeypatch, reference):
    make(store, request())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for command in (("cache", "show", reference), ("cache", "rm", reference)):
        result = call(*command)
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == 1
        assert len(result.stderr) < 600
        assert "cannot write to the store" not in result.stderr


def test_json_that_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_text_that_utf8_cannot_hold_comes_back_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    value = {"name": "bad \udcff name", "é": "∆ 🧬 \\udcff"}
    write_json(path, value)
    assert json.loads(path.read_text("utf-8")) == value
