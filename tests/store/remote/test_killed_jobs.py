"""A machine is killed while it makes a cache: another goes on after the lease, and one artifact is made."""

import multiprocessing
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from microtome.store.artifacts import remote_work, time_spent
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.remote import claims
from tests.store.remote.caches import fill_parts, request, write_cache

SPAWN = multiprocessing.get_context("spawn")
pytestmark = pytest.mark.kills


def killed_after(address, number):
    """Make a cache, and die once part `number` is written and sent."""
    with Store(address).begin(request("zarr", "none"), resumable=True) as staging:

        def die(written):
            if written == number:
                staging.send_progress.__self__._progress.close(wait=True)
                os.kill(os.getpid(), signal.SIGKILL)

        fill_parts(staging, "zarr", "none", after=die)


def store_of_another_machine(address, tmp_path, monkeypatch):
    """A store on a machine with an empty disk, whose clock goes on by a third of a lease at each look."""
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "two"))
    monkeypatch.setattr(remote_work, "POLL", 0.0)
    store, now = Store(address), iter(range(0, 10_000, 20))
    store.remote.claims = claims.Claims(store.remote.objects, "two 2", clock=lambda: next(now))
    return store


def test_another_machine_goes_on_after_the_lease(s3, tmp_path, monkeypatch, note_kills):
    whole, _ = write_cache(Store(tmp_path / "local"), "zarr", "none")
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "one"))
    process = SPAWN.Process(target=killed_after, args=(s3, 1))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store = store_of_another_machine(s3, tmp_path, monkeypatch)
    with store.begin(request("zarr", "none"), resumable=True) as staging:
        assert not staging.overtaken
        done = fill_parts(staging, "zarr", "none")
    assert done == list(range(2, len(whole.description.parts)))
    note_kills("the holder of a claim", 1, len({0, 1}.intersection(done)), "parts of a cache")
    cache = ActivationCache(store.find(request("zarr", "none")).path)
    for layer in range(4):
        np.testing.assert_array_equal(cache.hidden(layer), whole.hidden(layer))


def killed_after_work(address, saves):
    """Work for 10 s and save, if it `saves`; work for 35 s more, in which the claim is renewed; be killed."""
    clock = SimpleNamespace(now=0.0)
    time_spent.time = SimpleNamespace(monotonic=lambda: clock.now)
    with Store(address).begin(request("zarr", "none"), resumable=True) as staging:
        work = staging.send_progress.__self__
        clock.now += 10
        if saves:
            state = staging.scratch / "state"
            state.write_text("weights")
            staging.send_progress([state])
            work._progress.close(wait=True)
        clock.now += 35
        assert work._claim.renew()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("saves", "lost"), [(True, 35.0), (False, 45.0)])
def test_what_a_killed_machine_had_not_saved_is_counted_as_lost(s3, tmp_path, monkeypatch, saves, lost):
    """It got no signal and its disk is gone: what it said with its claim is all there is."""
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "one"))
    process = SPAWN.Process(target=killed_after_work, args=(s3, saves))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store = store_of_another_machine(s3, tmp_path, monkeypatch)
    monkeypatch.setattr(time_spent, "time", SimpleNamespace(monotonic=lambda: 0.0))
    with store.begin(request("zarr", "none"), resumable=True) as staging:
        (staging.path / "file").write_text("made")
    made = store.find(request("zarr", "none")).provenance
    assert (made["attempts"], made["seconds"], made["seconds_lost"]) == (2, 45.0, lost)
