import json
import multiprocessing
import os
import shutil
import signal
import time

import pytest

from microtome.store.artifacts.format import STORE
from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import MissingError, StoreError


def request(value=1, slug="thing"):
    return Request("probe", 1, {"value": value}, {"train": "aa"}, slug)


def make(store, wanted, text="x", **options):
    with store.begin(wanted, **options) as staging:
        (staging.path / "data.txt").write_text(text)
        staging.outputs["n"] = 3
    return store.find(wanted)


def leftovers(store):
    return sorted(path.name for path in store.root.rglob("*") if path.name != STORE)


def test_a_committed_artifact_is_found_by_request_id_prefix_name_and_folder(tmp_path):
    store = Store(tmp_path)
    made = make(store, request())
    assert made.manifest["outputs"] == {"n": 3}
    assert made.path.parent.name == "probe"
    assert made.path.name == f"thing-{made.id[:8]}"
    for reference in (made.id, made.id[:8], made.path.name, made.name, made.path):
        assert store.open(reference).path == made.path
    assert [artifact.id for artifact in store.list()] == [made.id]
    assert store.list("extract") == []


def test_another_slug_of_the_same_request_is_the_same_artifact(tmp_path):
    store = Store(tmp_path)
    made = make(store, request(slug="one"))
    assert store.find(request(slug="two")).path == made.path


def test_nothing_appears_when_the_body_fails(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.begin(request()) as staging:
        (staging.path / "half").write_text("x")
        raise ZeroDivisionError
    assert store.find(request()) is None
    assert leftovers(store) == []


def test_a_resumable_job_finds_what_it_wrote_and_another_request_does_not(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.begin(request(), resumable=True) as staging:
        (staging.path / "epoch-1").write_text("x")
        raise ZeroDivisionError
    with store.begin(request(2), resumable=True) as staging:
        assert list(staging.path.iterdir()) == []
    with store.begin(request(), resumable=True) as staging:
        assert [path.name for path in staging.path.iterdir()] == ["epoch-1"]
    assert (store.find(request()).path / "epoch-1").is_file()
    assert not (tmp_path / ".staging").exists()


def test_a_resumable_job_that_wrote_nothing_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.begin(request(), resumable=True):
        raise ZeroDivisionError
    assert leftovers(store) == []


def _die_in_the_middle(root):
    with Store(root).begin(request(), resumable=True) as staging:
        (staging.path / "epoch-1").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.forks
def test_a_killed_writer_leaves_no_artifact_and_its_work_to_the_next(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_die_in_the_middle, args=(tmp_path,))
    process.start()
    process.join()
    store = Store(tmp_path)
    assert process.exitcode == -signal.SIGKILL
    assert store.find(request()) is None
    with store.begin(request(), resumable=True) as staging:
        assert (staging.path / "epoch-1").is_file()


def _write_slowly(root, text, started, go):
    with Store(root).begin(request(), resumable=True) as staging:
        started.set()
        go.wait(20)
        assert list(staging.path.iterdir()) == []
        (staging.path / "data.txt").write_text(text)


@pytest.mark.forks
def test_two_writers_at_the_same_time_end_with_one_valid_artifact(tmp_path):
    context = multiprocessing.get_context("fork")
    go = context.Event()
    writers = []
    for text in ("first", "second"):
        started = context.Event()
        writers.append(context.Process(target=_write_slowly, args=(tmp_path, text, started, go)))
        writers[-1].start()
        assert started.wait(20)
    go.set()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = Store(tmp_path)
    assert len(store.list()) == 1
    assert (store.find(request()).path / "data.txt").read_text() in ("first", "second")
    assert not (tmp_path / ".staging").exists()


def test_remove_takes_the_artifact_away(tmp_path):
    store = Store(tmp_path)
    store.remove(make(store, request()))
    assert store.find(request()) is None
    with pytest.raises(MissingError, match="cache ls"):
        store.open("thing")


def test_a_folder_without_manifest_is_no_artifact_and_is_replaced(tmp_path):
    store = Store(tmp_path)
    half = tmp_path / "probe" / request().folder
    half.mkdir(parents=True)
    (half / "junk").write_text("x")
    assert store.find(request()) is None
    made = make(store, request())
    assert sorted(p.name for p in made.path.iterdir()) == ["data.txt", "manifest.json"]


def test_a_damaged_manifest_says_what_to_do(tmp_path):
    store = Store(tmp_path)
    made = make(store, request())
    (made.path / "manifest.json").write_text("{")
    assert store.find(request()) is None
    with pytest.raises(StoreError, match="is no artifact: manifest.json is not JSON. See: microtome"):
        store.open(made.id)


@pytest.mark.parametrize("call", [Store.check_writable, lambda store: make(store, request())])
def test_a_store_that_cannot_be_written_is_one_line(tmp_path, call):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write to the store .*MICROTOME_STORE"):
        call(Store(tmp_path / "file" / "store"))


def test_labels_and_provenance_are_kept_but_do_not_change_the_id(tmp_path):
    store = Store(tmp_path)
    plain = request()
    labelled = Request("probe", 1, {"value": 1}, {"train": "aa"}, "thing", labels={"model": "bert"})
    assert plain.id == labelled.id
    manifest = json.loads((make(store, labelled).path / "manifest.json").read_text())
    assert manifest["labels"] == {"model": "bert"}
    assert manifest["provenance"]["seconds"] >= 0
    assert time.strptime(manifest["provenance"]["made"][:19], "%Y-%m-%dT%H:%M:%S")


def test_identities_are_remembered_beside_the_artifacts(tmp_path):
    store = Store(tmp_path)
    assert store.remembered() == {}
    store.remember({"model:bert": "aa"})
    store.remember({"data:sick:test": "bb"})
    assert Store(tmp_path).remembered() == {"model:bert": "aa", "data:sick:test": "bb"}
    assert store.list() == []


KINDS = ("extract", "probe")


def dead_work(store, wanted, name="part"):
    """The staging folder of a resumable job that died."""
    with pytest.raises(ZeroDivisionError), store.begin(wanted, resumable=True) as staging:
        (staging.path / "deep").mkdir(exist_ok=True)
        (staging.path / "deep" / name).write_text("x")
        raise ZeroDivisionError
    return staging.path


def make_old(*folders):
    for folder in folders:
        for path in (folder, folder.with_name(folder.name + ".lock"), *folder.rglob("*")):
            if path.exists():
                os.utime(path, (1, 1))


def test_leftovers_are_work_that_nobody_does_and_half_removed_artifacts(tmp_path):
    store = Store(tmp_path)
    made = make(store, request(1))
    half = make(store, request(2)).path
    (half / "manifest.json").unlink()
    dead = dead_work(store, request(3))
    make_old(made.path, half, dead)
    assert set(store.leftovers(KINDS, 3600)) == {half, dead}
    assert all(store.discard(folder) for folder in store.leftovers(KINDS, 3600))
    assert leftovers(store) == ["data.txt", "manifest.json", "probe", made.path.name]


def test_work_that_a_process_does_is_no_leftover(tmp_path):
    store = Store(tmp_path)
    with store.begin(request(), resumable=True) as staging:
        make_old(staging.path)
        assert store.leftovers(KINDS, 0) == ()
        assert not store.discard(staging.path)
        (staging.path / "data.txt").write_text("x")
    assert store.find(request()) is not None


def test_what_was_written_to_lately_is_no_leftover(tmp_path):
    store = Store(tmp_path)
    dead = dead_work(store, request())
    make_old(dead)
    os.utime(dead / "deep" / "part")
    assert store.leftovers(KINDS, 3600) == ()
    assert store.leftovers(KINDS, 0) == (dead,)


def test_a_lock_without_its_folder_is_a_leftover(tmp_path):
    store = Store(tmp_path)
    dead = dead_work(store, request())
    shutil.rmtree(dead)
    (only,) = store.leftovers(KINDS, 0)
    assert store.discard(only)
    assert leftovers(store) == []


def test_folders_that_no_job_made_are_left_alone(tmp_path):
    store = Store(tmp_path)
    for name in ("models/bert-12345678", "probe/notes", "logs"):
        (tmp_path / name).mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "probe" / "thing-12345678").symlink_to(elsewhere)
    assert store.leftovers(KINDS, 0) == ()


def test_a_leftover_that_has_become_an_artifact_is_kept(tmp_path):
    store = Store(tmp_path)
    half = make(store, request()).path
    (half / "manifest.json").unlink()
    assert store.leftovers(KINDS, 0) == (half,)
    made = make(store, request())
    assert not store.discard(half)
    assert store.find(request()).path == made.path


def test_the_next_writer_goes_on_after_leftovers_were_discarded(tmp_path):
    store = Store(tmp_path)
    dead = dead_work(store, request())
    assert store.discard(dead)
    with store.begin(request(), resumable=True) as staging:
        assert staging.path == dead
        assert list(staging.path.iterdir()) == []
    assert store.find(request()) is not None
