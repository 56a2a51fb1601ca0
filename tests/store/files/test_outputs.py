import errno
import os

import pytest

from microtome.store.errors import InputError
from microtome.store.files.outputs import whole_file, whole_folder, write_whole


def below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_folders_above_are_made_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "a" / "b" / "rows.csv", "x\n")
    assert below(tmp_path) == {"a", "a/b", "a/b/rows.csv"}
    assert (tmp_path / "a" / "b" / "rows.csv").read_text() == "x\n"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", [whole_file, whole_folder])
def test_what_is_cut_short_leaves_what_was_there(tmp_path, place, error):
    (tmp_path / "old").write_text("old")
    target = tmp_path / "old" if place is whole_file else tmp_path / "new"
    for path in (target, tmp_path / "a" / "b" / "c"):
        with pytest.raises((InputError, KeyboardInterrupt)) as raised:
            with place(path) as staged:
                (staged if place is whole_file else staged / "part").write_text("half")
                raise error
        if isinstance(error, OSError):
            assert str(raised.value) == f"cannot write {path}: No space left on device"
    assert below(tmp_path) == {"old"}
    assert (tmp_path / "old").read_text() == "old"


def test_a_link_is_followed_and_a_mode_is_kept(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_a_pipe_is_written_to_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "x\n")
    assert os.read(reader, 9) == b"x\n"
    os.close(reader)
    assert below(tmp_path) == {"pipe"}


def test_what_cannot_be_written_is_said_before_there_is_anything_to_write(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    for path, said in {
        tmp_path / "full": "it is a folder, not a file",
        tmp_path / "file" / "x": "Not a directory",
        tmp_path / "loop": "a link that leads to itself",
        tmp_path / ("x" * 300): "File name too long",
    }.items():
        with pytest.raises(InputError, match=said):
            with whole_file(path):
                raise AssertionError("the block has begun")
    before = below(tmp_path)
    for path in (tmp_path / "full", tmp_path / "file", tmp_path / "loop", tmp_path / "file" / "x"):
        with pytest.raises(InputError):
            with whole_folder(path):
                raise AssertionError("the block has begun")
    assert below(tmp_path) == before


def test_another_error_of_the_block_is_not_about_the_output(tmp_path):
    with pytest.raises(FileNotFoundError):
        with whole_file(tmp_path / "rows"):
            (tmp_path / "model").read_text()


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    with whole_folder(tmp_path / "empty") as staged:
        (staged / "x").write_text("")
    assert below(tmp_path) == {"empty", "empty/x"}
