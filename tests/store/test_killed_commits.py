"""A writer that is killed at any step of a commit: the whole artifact is there, or none, and all goes on."""

import json
import multiprocessing
import os
import signal

import pytest

from microtome.store.artifacts import sources
from microtome.store.artifacts.manifest import read_manifest
from microtome.store.artifacts.store import Request, Store

FORK = multiprocessing.get_context("fork")
pytestmark = [pytest.mark.forks, pytest.mark.kills]
# Every call of the system by which a commit changes what is on disk, and the writing of JSON halfway.
STEPS = ("mkdir", "chmod", "fsync", "rename", "replace", "unlink", "rmdir", "fchmod")
FILES = {"data.txt": "x" * 5000, "deep/more.txt": "y" * 5000}


def request(**more):
    return Request("extract", 1, {"value": 1}, {"data": "aa"}, "thing", **more)


def killed_at(at, before):
    """Kill this process at the `at`-th step, before or after it is done."""
    count = 0

    def step(real):
        def call(*args, **more):
            nonlocal count
            count += 1
            if count == at and before:
                os.kill(os.getpid(), signal.SIGKILL)
            own = count
            try:
                return real(*args, **more)
            finally:
                if own == at and not before:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in STEPS:
        setattr(os, name, step(getattr(os, name)))
    real_dump = json.dump

    def half_dump(value, stream, **more):
        nonlocal count
        count += 1
        if count == at:
            text = json.dumps(value, **more)
            stream.write(text[: len(text) // 2])
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        real_dump(value, stream, **more)

    json.dump = half_dump


def write(root, wanted, resumable):
    with Store(root).begin(wanted, resumable=resumable) as staging:
        for name, text in FILES.items():
            (staging.path / name).parent.mkdir(exist_ok=True)
            (staging.path / name).write_text(text)
        (staging.scratch / "note").write_text("z")


def remove(root, wanted, _):
    store = Store(root)
    store.remove(store.find(wanted))


def note(root, wanted, _):
    sources.remember(root, {"model:new": "b" * 64})


def repair(root, wanted, resumable):
    write(root, wanted, resumable)


def _child(what, at, before, *arguments):
    killed_at(at, before)
    what(*arguments)


def run_killed(what, at, before, *arguments):
    """Whether the process was killed; False says that it came to its end before the `at`-th step."""
    process = FORK.Process(target=_child, args=(what, at, before, *arguments))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def contents(artifact):
    files = [p for p in artifact.path.rglob("*") if p.is_file() and ".scratch" not in p.parts]
    return {
        p.relative_to(artifact.path).as_posix(): p.read_text() for p in files if p.name != "manifest.json"
    }


def assert_whole_or_none(store, wanted):
    found = store.find(wanted)
    if found is not None:
        assert contents(found) == FILES
        assert read_manifest(found.path) == found.manifest
    assert [a.id for a in store.list()] == ([wanted.id] if found else [])
    return found


def assert_goes_on(store, wanted, resumable):
    """The same writer again, then the removal of what is left, end with the artifact and nothing else."""
    write(store.root, wanted, resumable)
    for leftover in store.leftovers(("extract",), 0):
        assert store.discard(leftover)
    assert contents(store.find(wanted)) == FILES
    names = {p.relative_to(store.root).as_posix() for p in store.root.rglob("*")}
    folder = f"extract/{wanted.folder}"
    inside = {f"{folder}/{name}" for name in (*FILES, "deep", "manifest.json")}
    assert names == {"store.json", "extract", folder, *inside}


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("private", [False, True], ids=["open", "private"])
@pytest.mark.parametrize("resumable", [False, True], ids=["anew", "resumable"])
def test_killed_at_each_step_of_a_commit(tmp_path, resumable, private, before, note_kills):
    wanted = request(private=private)
    at, outcomes = 1, set()
    while True:
        store = Store(tmp_path / str(at))
        killed = run_killed(write, at, before, store.root, wanted, resumable)
        outcomes.add(assert_whole_or_none(store, wanted) is not None)
        if not killed:
            break
        assert_goes_on(store, wanted, resumable)
        at += 1
    assert at > 10
    assert outcomes == {True, False}
    note_kills("commit", at - 1, 0, "artifacts made")  # `assert_goes_on` found one, each time


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_each_step_of_a_repair(tmp_path, before, note_kills):
    """The artifact that is there is damaged, so that the commit takes it away first."""
    wanted, at = request(), 1
    while True:
        store = Store(tmp_path / str(at))
        write(store.root, wanted, False)
        (store.find(wanted).path / "manifest.json").write_text("{")
        killed = run_killed(repair, at, before, store.root, wanted, True)
        assert_whole_or_none(Store(store.root), wanted)
        if not killed:
            break
        assert_goes_on(Store(store.root), wanted, True)
        at += 1
    assert at > 10
    note_kills("repair of a damaged artifact", at - 1, 0, "artifacts made")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_each_step_of_a_removal(tmp_path, before, note_kills):
    wanted, at = request(), 1
    while True:
        store = Store(tmp_path / str(at))
        write(store.root, wanted, False)
        killed = run_killed(remove, at, before, store.root, wanted, None)
        assert_whole_or_none(store, wanted)
        if not killed:
            assert store.find(wanted) is None
            break
        assert_goes_on(store, wanted, False)
        at += 1
    assert at > 3
    note_kills("removal", at - 1, 0, "artifacts left")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_each_step_of_noting_identities(tmp_path, before):
    old, new, at = {"model:old": "a" * 64}, {"model:new": "b" * 64}, 1
    while True:
        store = Store(tmp_path / str(at))
        store.remember(old)
        killed = run_killed(note, at, before, store.root, None, None)
        assert store.remembered() in (old, old | new)
        if not killed:
            break
        store.remember(new)
        assert store.remembered() == old | new
        assert {p.name for p in store.root.iterdir()} == {
            "store.json",
            "sources.json",
            "sources.json.lock",
        }
        at += 1
    assert at > 2
