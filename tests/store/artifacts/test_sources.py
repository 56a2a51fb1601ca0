"""Identities that are remembered: many processes at once, and a file that is damaged."""

import json
import multiprocessing

import pytest

from microtome.store.artifacts.store import Store
from microtome.store.errors import StoreError
from microtome.store.files.operations import write_json

WRITERS, NOTES = 4, 60


def _note(root, writer, go):
    go.wait(30)
    for number in range(NOTES):
        Store(root).remember({f"model:{writer}.{number}": "a" * 64})


def _together(target, *arguments):
    context = multiprocessing.get_context("fork")
    go = context.Event()
    processes = [context.Process(target=target, args=(*arguments, n, go)) for n in range(WRITERS)]
    for process in processes:
        process.start()
    go.set()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


@pytest.mark.forks
def test_what_several_processes_note_at_the_same_time_is_all_there(tmp_path):
    assert _together(_note, tmp_path) == [0] * WRITERS
    wanted = {f"model:{writer}.{number}" for writer in range(WRITERS) for number in range(NOTES)}
    assert set(Store(tmp_path).remembered()) == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "sources.json",
        "sources.json.lock",
        "store.json",
    ]


def _write(path, writer, go):
    go.wait(30)
    for number in range(NOTES):
        write_json(path, {"writer": writer, "number": number, "text": "x" * 5000})


@pytest.mark.forks
def test_a_file_that_several_processes_write_is_whole_and_that_of_one(tmp_path):
    path = tmp_path / "a.json"
    assert _together(_write, path) == [0] * WRITERS
    assert json.loads(path.read_text())["number"] == NOTES - 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b'{"a": 1}', b'{"a": null}', b"\xff\xfe", b"[" * 200_000]
)
def test_damaged_notes_are_an_error_and_stay_as_they_are(tmp_path, content):
    path = tmp_path / "sources.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="sources.json is damaged: it .* Put back a copy, or move it away"):
        Store(tmp_path).remembered()
    with pytest.raises(StoreError, match="is damaged"):
        Store(tmp_path).remember({"model:bert": "aa"})
    assert path.read_bytes() == content


def test_notes_that_cannot_be_read_are_not_taken_for_none(tmp_path):
    (tmp_path / "sources.json").mkdir()
    with pytest.raises(StoreError, match="cannot read"):
        Store(tmp_path).remembered()


def test_what_a_killed_writer_left_is_taken_away_by_the_next(tmp_path):
    (tmp_path / ".sources.json.12.abcdef01.tmp").write_text("{")
    Store(tmp_path).remember({"model:bert": "aa"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sources.json", "sources.json.lock", "store.json"]


def test_what_is_known_is_not_written_again(tmp_path):
    store = Store(tmp_path)
    store.remember({"model:bert": "aa", "model:gpt2": "bb"})
    before = (tmp_path / "sources.json").stat().st_ino
    store.remember({"model:bert": "aa"})
    assert (tmp_path / "sources.json").stat().st_ino == before
    store.remember({"model:bert": "cc"})
    assert store.remembered() == {"model:bert": "cc", "model:gpt2": "bb"}
