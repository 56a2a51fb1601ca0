"""A machine is killed while it makes a cache: another goes on after the lease, and one artifact is made."""

import multiprocessing
import os
import signal

import numpy as np

from microtome.store.artifacts import remote_work
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.remote import claims
from tests.store.remote.caches import fill_parts, request, write_cache

SPAWN = multiprocessing.get_context("spawn")


def killed_after(address, number):
    """Make a cache, and die once part `number` is written and sent."""
    with Store(address).begin(request("zarr", "none"), resumable=True) as staging:

        def die(written):
            if written == number:
                staging.send_progress.__self__._progress.close(wait=True)
                os.kill(os.getpid(), signal.SIGKILL)

        fill_parts(staging, "zarr", "none", after=die)


def test_another_machine_goes_on_after_the_lease(s3, tmp_path, monkeypatch):
    whole, _ = write_cache(Store(tmp_path / "local"), "zarr", "none")
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "one"))
    process = SPAWN.Process(target=killed_after, args=(s3, 1))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "two"))
    monkeypatch.setattr(remote_work, "POLL", 0.0)
    store, now = Store(s3), iter(range(0, 10_000, 20))
    store.remote.claims = claims.Claims(store.remote.objects, "two 2", clock=lambda: next(now))
    with store.begin(request("zarr", "none"), resumable=True) as staging:
        assert not staging.overtaken
        done = fill_parts(staging, "zarr", "none")
    assert done == list(range(2, len(whole.description.parts)))
    cache = ActivationCache(store.find(request("zarr", "none")).path)
    for layer in range(4):
        np.testing.assert_array_equal(cache.hidden(layer), whole.hidden(layer))
