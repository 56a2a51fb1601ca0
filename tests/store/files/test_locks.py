import os

import pytest

from microtome.store.files import locks
from microtome.store.files.locks import first_free, lock_path, unheld


def test_a_held_folder_is_passed_over_and_comes_back_when_its_lock_is_closed(tmp_path):
    lock, folder = first_free(tmp_path, "job")
    assert folder == tmp_path / "job.0"
    other, second = first_free(tmp_path, "job")
    assert second == tmp_path / "job.1"
    with unheld(folder) as free:
        assert not free
    os.close(lock)
    with unheld(folder) as free:
        assert free
        third, after = first_free(tmp_path, "job")
        assert after == tmp_path / "job.2"  # nobody takes up what is being looked at
    os.close(other)
    os.close(third)


def test_a_folder_without_a_lock_is_held_by_nobody_and_gets_none(tmp_path):
    with unheld(tmp_path / "job.0") as free:
        assert free
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def replaced_once(tmp_path, monkeypatch):
    """The lock file is replaced between its opening and its locking, the first time."""
    locked, path, times = locks.try_lock, lock_path(tmp_path / "job.0"), []

    def replace_then_lock(lock):
        if not times:
            path.rename(tmp_path / "removed")  # kept, so that its inode is not used again
            path.touch()
        times.append(lock)
        return locked(lock)

    monkeypatch.setattr(locks, "try_lock", replace_then_lock)


def test_the_lock_of_a_removed_file_does_not_count(tmp_path, replaced_once):
    lock_path(tmp_path / "job.0").touch()
    with unheld(tmp_path / "job.0") as free:
        assert not free


def test_a_writer_locks_the_file_that_is_there(tmp_path, replaced_once):
    lock, folder = first_free(tmp_path, "job")
    assert folder == tmp_path / "job.0"
    assert os.fstat(lock).st_ino == lock_path(folder).stat().st_ino
    os.close(lock)
