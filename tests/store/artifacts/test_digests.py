"""What is remembered of files, and when it no longer holds."""

import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import time

import pytest

from microtome.store.artifacts import digests as module
from microtome.store.artifacts.digests import DIGESTS, SETTLED, Digests
from microtome.store.artifacts.store import Store

WHAT = {"rows": "train"}


def settle(monkeypatch):
    """Let files that were written just now count as written long ago."""
    monkeypatch.setattr(module, "SETTLED", -3600 * 10**9)


@pytest.fixture
def root(tmp_path, monkeypatch):
    settle(monkeypatch)
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data.txt"
    path.write_text("one\n")
    return path


def remember(root, path, value="v", what=WHAT, beside=()):
    Digests(root).remember(what, value, path, beside=beside, began=time.time_ns())


def test_what_was_remembered_is_recalled_by_another_process_of_the_same_store(root, file):
    assert Digests(root).recall(WHAT, file) is None
    remember(root, file)
    assert Digests(root).recall(WHAT, file) == "v"
    assert Digests(root).recall({"rows": "test"}, file) is None
    assert Digests(root).recall(WHAT, file.parent / "other.txt") is None
    assert pickle.loads(pickle.dumps(Digests(root))).recall(WHAT, file) == "v"


def test_the_digest_of_a_file_is_computed_once(root, file, monkeypatch):
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    assert Digests(root).of_file(file) == expected
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert Digests(root).of_file(file) == expected


def write_in_place(path):
    times = path.stat()
    path.write_text("two\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the time of its status changes all the same


def replace(path):
    times = path.stat()
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        write_in_place,
        replace,
        lambda path: path.write_text("one\ntwo\n"),
        lambda path: os.utime(path, (1, 1)),
        lambda path: path.unlink(),
    ],
)
def test_a_file_that_was_touched_is_not_recalled(root, file, change):
    remember(root, file)
    change(file)
    assert Digests(root).recall(WHAT, file) is None


def test_a_file_that_may_still_be_written_to_is_not_remembered(tmp_path, file):
    written = max(file.stat().st_mtime_ns, file.stat().st_ctime_ns)
    for began, recalled in ((written + SETTLED - 1, None), (written + SETTLED, "v")):
        digests = Digests()
        digests.remember(WHAT, "v", file, began=began)
        assert digests.recall(WHAT, file) == recalled


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "deep" / "b.txt").write_text("other"),
        lambda folder: (folder / "deep" / "c.txt").write_text("new"),
        lambda folder: (folder / "a.txt").unlink(),
        lambda folder: (folder / "a.txt").rename(folder / "z.txt"),
        lambda folder: (folder / "linked").symlink_to(folder / "deep"),
    ],
)
def test_a_folder_is_all_that_is_below_it(root, tmp_path, change):
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.txt").write_text("b")
    remember(root, folder)
    assert Digests(root).recall(WHAT, folder) == "v"
    change(folder)
    assert Digests(root).recall(WHAT, folder) is None


def test_files_that_were_read_beside_count_too(root, file):
    beside = file.with_name("answers.json")
    beside.write_text("{}")
    remember(root, file, beside=[beside])
    assert Digests(root).recall(WHAT, file) == "v"
    beside.write_text("[1]")
    assert Digests(root).recall(WHAT, file) is None


def test_what_has_no_file_is_remembered_as_it_is(root):
    Digests(root).remember({"hub": "a/b", "commit": "c"}, "identity")
    assert Digests(root).recall({"hub": "a/b", "commit": "c"}) == "identity"


def test_a_damaged_line_is_not_there_and_the_others_are(root, tmp_path):
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for path in paths:
        path.write_text(path.name)
        remember(root, path, value=path.name)
    lines = (root / DIGESTS).read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"value": "1.txt"', b'"value": "2.txt"')
    (root / DIGESTS).write_bytes(b"".join(lines) + b"cut off in the mid")
    assert [Digests(root).recall(WHAT, path) for path in paths] == ["0.txt", None, "2.txt"]
    remember(root, paths[1], value="again")  # and what comes after a line that was cut off is whole
    assert [Digests(root).recall(WHAT, path) for path in paths] == ["0.txt", "again", "2.txt"]


@pytest.mark.parametrize("damage", [b"\xff\x00" * 500, b"SQLite format 3\x00", b"\n\n", b"[]"])
def test_a_file_that_is_something_else_is_built_again(root, file, damage):
    (root / DIGESTS).write_bytes(damage)
    assert Digests(root).recall(WHAT, file) is None
    remember(root, file)
    assert Digests(root).recall(WHAT, file) == "v"


def test_a_file_that_grew_too_large_starts_again(root, file, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 2000)
    for number in range(40):
        remember(root, file, value=str(number))
    assert (root / DIGESTS).stat().st_size < 3000
    assert Digests(root).recall(WHAT, file) == "39"


def test_no_path_is_written(root, file):
    beside = file.with_name("answers.json")
    beside.write_text("{}")
    remember(root, file, beside=[beside])
    assert str(file.parent) not in (root / DIGESTS).read_text()
    line = (root / DIGESTS).read_text().partition(" ")[2]
    assert json.loads(line)["beside"] == ["answers.json"]


def test_a_store_that_is_only_read_works_without(root, file, monkeypatch):
    def refuse(*args, **more):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "write_format", refuse)
    digests = Digests(root)
    digests.remember(WHAT, "v", file, began=time.time_ns())
    assert not (root / DIGESTS).exists()
    assert digests.recall(WHAT, file) == "v"  # this process knows it all the same
    assert Digests(root).recall(WHAT, file) is None


def test_nothing_makes_a_store_where_there_is_none(tmp_path, file, monkeypatch):
    settle(monkeypatch)
    digests = Digests(tmp_path / "none")
    digests.remember(WHAT, "v", file, began=time.time_ns())
    assert digests.recall(WHAT, file) == "v"
    assert not (tmp_path / "none").exists()


def test_nothing_is_written_through_a_symbolic_link(root, file, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine\n")
    (root / DIGESTS).symlink_to(elsewhere)
    remember(root, file)
    assert elsewhere.read_text() == "mine\n"
    assert Digests(root).recall(WHAT, file) is None


def _remember_many(root, folder, number):
    module.SETTLED = -3600 * 10**9
    for path in sorted(folder.iterdir()):
        remember(root, path, value=f"{path.name} of {number}", what={"writer": number})


def test_writers_at_the_same_time_lose_nothing(root, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(25):
        (folder / f"{number}.txt").write_text(str(number))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_remember_many, args=(root, folder, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    digests = Digests(root)
    for number in range(3):
        for path in folder.iterdir():
            assert digests.recall({"writer": number}, path) == f"{path.name} of {number}"


def test_a_store_has_one(root, file):
    Store(root).digests.remember(WHAT, "v", file, began=time.time_ns())
    assert Store(root).digests.recall(WHAT, file) == "v"
