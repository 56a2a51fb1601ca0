"""The seconds of a job that was stopped add up, and what was lost is told."""

import json

import pytest

from microtome.store.artifacts import time_spent
from microtome.store.artifacts.store import Request, Store

REQUEST = Request("probe", 1, {}, {}, "a")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to go on."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    stopped = Clock()
    monkeypatch.setattr(time_spent, "time", stopped)
    return stopped


def attempt(store, clock, before_save, after_save, *, stopped):
    """Work, save, work on; and be stopped or be done."""
    with store.begin(REQUEST, resumable=True) as staging:
        clock.now += before_save
        state = staging.scratch / "state"
        state.write_text("weights")
        staging.send_progress([state])
        clock.now += after_save
        if stopped:
            raise KeyboardInterrupt


def test_seconds_add_up_over_attempts_and_what_came_after_the_last_save_is_lost(tmp_path, clock):
    store = Store(tmp_path)
    for seconds in (10, 20):
        with pytest.raises(KeyboardInterrupt):
            attempt(store, clock, seconds, 3, stopped=True)
    attempt(store, clock, 5, 1, stopped=False)
    provenance = store.find(REQUEST).provenance
    assert provenance["seconds"] == 13 + 23 + 6
    assert (provenance["attempts"], provenance["seconds_lost"]) == (3, 6)
    assert not list(tmp_path.rglob("attempt-*"))


def test_another_machine_goes_on_counting(s3, tmp_path, clock, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        attempt(Store(s3), clock, 10, 0, stopped=True)
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "another"))
    attempt(Store(s3), clock, 5, 1, stopped=False)
    provenance = Store(s3).find(REQUEST).provenance
    assert (provenance["seconds"], provenance["attempts"]) == (16, 2)


def test_attempts_of_several_machines_are_all_counted(s3, tmp_path, clock, monkeypatch):
    """The second has saved nothing, so that no record of it is on object storage."""
    for name, saves in (("one", True), ("two", False)):
        monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / name))
        with pytest.raises(KeyboardInterrupt):
            with Store(s3).begin(REQUEST, resumable=True) as staging:
                clock.now += 10
                if saves:
                    (staging.scratch / "state").write_text("weights")
                    staging.send_progress([staging.scratch / "state"])
                clock.now += 2
                raise KeyboardInterrupt
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "three"))
    attempt(Store(s3), clock, 5, 1, stopped=False)
    provenance = Store(s3).find(REQUEST).provenance
    assert (provenance["seconds"], provenance["attempts"], provenance["seconds_lost"]) == (30, 3, 14)


def test_attempts_at_an_artifact_that_was_made_do_not_count_when_it_is_made_again(s3, clock):
    with pytest.raises(KeyboardInterrupt):
        attempt(Store(s3), clock, 10, 3, stopped=True)
    attempt(Store(s3), clock, 5, 1, stopped=False)
    store = Store(s3)
    assert store.find(REQUEST).provenance["attempts"] == 2
    store.remove(store.find(REQUEST))
    attempt(store, clock, 5, 1, stopped=False)
    assert "attempts" not in store.find(REQUEST).provenance


def test_a_job_that_was_never_stopped_says_nothing_of_attempts(tmp_path, clock):
    attempt(Store(tmp_path), clock, 10, 1, stopped=False)
    provenance = Store(tmp_path).find(REQUEST).provenance
    assert provenance["seconds"] == 11
    assert "attempts" not in provenance


def test_a_job_that_has_saved_nothing_leaves_no_record(tmp_path, clock):
    with pytest.raises(KeyboardInterrupt):
        with Store(tmp_path).begin(REQUEST, resumable=True):
            raise KeyboardInterrupt
    assert not (tmp_path / ".staging").exists()


def test_a_record_tells_both_while_the_job_runs(tmp_path, clock):
    with Store(tmp_path).begin(REQUEST, resumable=True) as staging:
        (staging.scratch / "state").write_text("weights")
        clock.now += 7
        staging.send_progress([staging.scratch / "state"])
        [record] = staging.scratch.glob("attempt-*.json")
        assert json.loads(record.read_text()) == {"seconds": 7, "saved": 7}
