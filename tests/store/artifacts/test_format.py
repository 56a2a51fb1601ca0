"""A store has a format: a newer one is refused, an older one is read."""

import json

import pytest
from click.testing import CliRunner

from microtome.jobs.cli.main import main
from microtome.store.artifacts.format import FORMAT, STORE
from microtome.store.artifacts.store import Request, Store, read_artifact
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import StoreError

REQUEST = Request("probe", 1, {"value": 1}, {"train": "a" * 64}, "one")


def made(root):
    with Store(root).begin(REQUEST) as staging:
        (staging.path / "rows.jsonl").write_text("")
    return Store(root).find(REQUEST)


def test_the_first_write_notes_the_format(tmp_path):
    Store(tmp_path / "store").list()
    assert not (tmp_path / "store").exists()
    made(tmp_path / "store")
    assert json.loads((tmp_path / "store" / STORE).read_text()) == {"format": FORMAT}


@pytest.mark.parametrize(
    "write", [lambda s: s.remember({"model:a": "b"}), lambda s: s.digests.remember({}, "v")]
)
def test_other_writes_do_too(tmp_path, write):
    write(Store(tmp_path))
    assert json.loads((tmp_path / STORE).read_text()) == {"format": FORMAT}


def test_a_store_without_a_format_is_read_and_gets_one_when_it_is_written_to(tmp_path):
    artifact = made(tmp_path)
    (tmp_path / STORE).unlink()
    assert Store(tmp_path).open(artifact.id).id == artifact.id
    assert not (tmp_path / STORE).exists()
    Store(tmp_path).remember({"model:a": "b"})
    assert json.loads((tmp_path / STORE).read_text()) == {"format": FORMAT}


def test_a_newer_store_is_refused_in_one_line(tmp_path, monkeypatch):
    artifact = made(tmp_path)
    (tmp_path / STORE).write_text(json.dumps({"format": FORMAT + 1, "new": "something"}))
    said = f"the store .* has format {FORMAT + 1}, and this version of microtome reads up to {FORMAT}"
    for read in (
        Store,
        lambda root: read_artifact(artifact.path),
        lambda root: ActivationCache(artifact.path),
    ):
        with pytest.raises(StoreError, match=said):
            read(tmp_path)
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path))
    for command in (["cache", "ls"], ["suite", "status", "demo"], ["cache", "rm", artifact.id[:8]]):
        result = CliRunner().invoke(main, command)
        assert (result.exit_code, result.output.count("\n")) == (2, 1)
        assert "Update microtome" in result.output
    assert artifact.path.is_dir()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": "1"}', '{"format": true}', "\xff"])
def test_a_damaged_one_is_named_with_what_to_do(tmp_path, text):
    (tmp_path / STORE).write_text(text)
    with pytest.raises(StoreError, match=r'store.json is damaged. Write {"format": 1} into it'):
        Store(tmp_path)


def test_an_empty_one_is_what_a_killed_writer_left_and_is_written_again(tmp_path):
    (tmp_path / STORE).touch()
    Store(tmp_path).remember({"model:a": "b"})
    assert json.loads((tmp_path / STORE).read_text()) == {"format": 1}


def test_an_artifact_of_an_earlier_version_is_listed_and_read(tmp_path, monkeypatch):
    """One whose identity holds settings at their default, and that does not note its settings otherwise."""
    from microtome.store.artifacts.manifest import MANIFEST, write_manifest

    artifact = made(tmp_path)
    manifest = {k: v for k, v in artifact.manifest.items() if k not in ("settings", "checksum")}
    write_manifest(artifact.path, manifest)
    (tmp_path / STORE).unlink()
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path))
    [read] = Store(tmp_path).list()
    assert "settings" not in read.manifest
    assert read.settings == {"value": 1}
    for command in (["cache", "ls"], ["cache", "show", read.id[:8]], ["cache", "gc"], ["store", "verify"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    assert read.path.name in CliRunner().invoke(main, ["cache", "ls"]).output
    listed = CliRunner().invoke(main, ["cache", "gc", "--suite", "demo"]).output
    assert f"unreferenced {read.name}" in listed
    assert (tmp_path / "probe" / read.path.name / MANIFEST).exists()
