"""The lock of a machine that is gone is taken over, with the folder as it is; that of a living one is not."""

import multiprocessing
import os
import time

import pytest

from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import StoreError
from microtome.store.files import owners
from microtome.store.files.locks import is_held, lock_first_unused, lock_path

REQUEST = Request("probe", 1, {}, {}, "a")


@pytest.fixture
def elsewhere(monkeypatch):
    """What this process locks, it locks as another machine; call it to be this machine again."""
    here = owners.socket.gethostname
    monkeypatch.setattr(owners.socket, "gethostname", lambda: "another-machine")
    return lambda: monkeypatch.setattr(owners.socket, "gethostname", here)


def age(folder, seconds):
    """Let the last touch of a lock be some time ago."""
    then = time.time() - seconds
    os.utime(lock_path(folder), (then, then))


def test_the_folder_of_a_machine_that_is_gone_is_taken_over_with_what_it_holds(tmp_path, elsewhere):
    lost = Store(tmp_path).begin(REQUEST, resumable=True)
    its_staging = lost.__enter__()
    (its_staging.scratch / "state").write_text("weights")
    elsewhere()
    age(its_staging.path, owners.LEASE)
    with Store(tmp_path).begin(REQUEST, resumable=True) as staging:
        assert staging.path == its_staging.path
        assert (staging.scratch / "state").read_text() == "weights"
        with pytest.raises(StoreError, match="another machine took this one for gone"):
            lost.__exit__(None, None, None)  # it comes back, and may not commit over the one that goes on
        (staging.path / "result").write_text("1")
    assert (Store(tmp_path).find(REQUEST).path / "result").read_text() == "1"


def test_a_machine_that_touches_its_lock_keeps_it(tmp_path, elsewhere, monkeypatch):
    lock, folder = lock_first_unused(tmp_path, "job")
    with owners.held_by_this_machine(lock):
        elsewhere()
        age(folder, owners.LEASE / 2)
        looks = []
        touched = owners._touched

        def touched_meanwhile(path):
            looks.append(path)
            if len(looks) == 2:
                os.utime(path)
            return touched(path)

        monkeypatch.setattr(owners, "_touched", touched_meanwhile)
        other, second = lock_first_unused(tmp_path, "job")
        assert second == tmp_path / "job.1"
        assert is_held(lock, folder)
    os.close(lock)
    os.close(other)


def test_a_process_of_this_machine_is_never_taken_for_gone(tmp_path):
    lock, folder = lock_first_unused(tmp_path, "job")
    with owners.held_by_this_machine(lock):
        age(folder, 100 * owners.LEASE)
        assert not owners.holder_is_gone(lock_path(folder))
    os.close(lock)


def hold_and_die(folder):
    lock, _ = lock_first_unused(folder, "job")
    with owners.held_by_this_machine(lock):
        os._exit(0)


@pytest.mark.forks
def test_of_a_process_that_was_killed_the_folder_is_free_at_once(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=hold_and_die, args=(tmp_path,))
    process.start()
    process.join()
    lock, folder = lock_first_unused(tmp_path, "job")
    assert folder == tmp_path / "job.0"
    os.close(lock)
