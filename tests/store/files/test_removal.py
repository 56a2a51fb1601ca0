"""The one place that deletes."""

from pathlib import Path

import pytest

from microtome.store.errors import StoreError
from microtome.store.files.removal import check_inside, remove


@pytest.fixture
def ours(tmp_path):
    (tmp_path / "ours" / "deep").mkdir(parents=True)
    (tmp_path / "ours" / "deep" / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    return tmp_path / "ours"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "path", [".", "..", "../mine", "../mine/file", "deep/../../mine", "deep/..", "../ours", "/", "../ours2"]
)
def test_what_is_not_below_the_folder_stays(tmp_path, ours, path):
    (tmp_path / "ours2").mkdir()
    before = names(tmp_path)
    with pytest.raises(StoreError, match="left alone"):
        remove(ours / path, inside=ours)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    "path", ["link", "link/file", "deep/up", "deep/up/ours/deep", "dangling", "file-link"]
)
def test_what_a_link_leads_to_stays_and_so_does_the_link(tmp_path, ours, path):
    (ours / "link").symlink_to(tmp_path / "mine")
    (ours / "deep" / "up").symlink_to(tmp_path)
    (ours / "dangling").symlink_to("nowhere")
    (ours / "file-link").symlink_to(tmp_path / "mine" / "file")
    before = names(tmp_path / "mine"), names(ours)
    with pytest.raises(StoreError, match="symbolic link"):
        remove(ours / path, inside=ours)
    assert (names(tmp_path / "mine"), names(ours)) == before


def test_a_folder_a_file_and_nothing(ours):
    remove(ours / "deep" / "file", inside=ours)
    assert names(ours) == ["deep"]
    remove(ours / "deep", inside=ours)
    remove(ours / "deep", inside=ours)
    assert names(ours) == []
    with pytest.raises(StoreError):
        remove(ours, inside=ours)


def test_a_folder_that_is_itself_reached_by_a_link_is_ours(tmp_path, ours):
    (tmp_path / "way").symlink_to(ours)
    check_inside(tmp_path / "way" / "deep", tmp_path / "way")
    remove(tmp_path / "way" / "deep", inside=tmp_path / "way")
    assert names(ours) == []


def test_a_relative_folder(ours, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    remove(Path("ours/deep"), inside=Path("ours"))
    assert names(ours) == []
