"""A push and a pull that are killed anywhere: nothing that looks whole is not, and the next try ends it."""

import multiprocessing
import os
import signal

import numpy as np
import pytest

from microtome.store.artifacts.shared_catalogue import remote_at
from microtome.store.artifacts.sharing import compare, pull, push
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import StoreError
from microtome.store.remote.objects import Objects
from tests.store.remote.caches import write_cache

SPAWN = multiprocessing.get_context("spawn")  # obstore has threads, which a fork does not
TRIES = 6


def killed_at(request):
    """Kill this process around its `request`-th request, in the middle of what other threads do."""
    count = 0

    def counted(real):
        def call(*args, **more):
            nonlocal count
            count += 1
            if count == request:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return call

    for name in ("put", "put_new", "get", "stream", "list", "size", "delete"):
        setattr(Objects, name, counted(getattr(Objects, name)))


def push_all(root, address, request):
    killed_at(request)
    remote = remote_at(address)
    for artifact in compare(Store(root), remote).here:
        push(artifact, remote, lambda count: None)


def pull_all(root, address, request):
    killed_at(request)
    store, remote = Store(root), remote_at(address)
    for artifact in compare(store, remote).there:
        pull(artifact, store, remote, lambda count: None)


def run_killed(target, *arguments):
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.fixture
def places(s3, tmp_path):
    store = Store(tmp_path / "store")
    local, made = write_cache(store, "zarr", "none")
    return store, local, made, s3


def test_a_killed_push_leaves_no_artifact_or_a_whole_one(places, tmp_path, monkeypatch):
    store, local, made, address = places
    requests = np.random.default_rng(0).choice(np.arange(1, 30), TRIES, replace=False)
    codes = []
    for request in sorted(int(r) for r in requests):
        codes.append(run_killed(push_all, store.root, address, request))
        monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / f"looks-{request}"))
        for artifact in Store(address).list():
            cache = ActivationCache(artifact.path)
            np.testing.assert_array_equal(cache.hidden(1), local.hidden(1))
    assert -signal.SIGKILL in codes
    run_killed(push_all, store.root, address, 0)
    assert [a.id for a in Store(address).list()] == [made.id]


def test_a_killed_pull_leaves_no_artifact_or_a_whole_one(places, tmp_path):
    _, local, made, address = places
    push(made, remote_at(address), lambda count: None)
    target = tmp_path / "target"
    requests = np.random.default_rng(1).choice(np.arange(1, 16), TRIES, replace=False)
    codes = []
    for request in sorted(int(r) for r in requests):
        codes.append(run_killed(pull_all, target, address, request))
        for artifact in Store(target).list():
            assert list(artifact.contents.faults()) == []
    assert -signal.SIGKILL in codes
    run_killed(pull_all, target, address, 0)
    [pulled] = Store(target).list()
    assert pulled.manifest == made.manifest
    assert list(pulled.contents.faults()) == []
    assert list(pulled.contents.strays()) == []
    np.testing.assert_array_equal(ActivationCache(pulled.path).hidden(2), local.hidden(2))


def test_a_second_push_sends_only_what_is_not_there(places, monkeypatch):
    _, _, made, address = places
    remote = remote_at(address)
    sent = []
    real = Objects.put
    failing = iter([False, False, True])

    def put(self, key, content):
        if next(failing, False):
            raise KeyboardInterrupt
        sent.append(key)
        real(self, key, content)

    monkeypatch.setattr(Objects, "put", put)
    with pytest.raises(KeyboardInterrupt):
        push(made, remote, lambda count: None)
    first = len(sent)
    assert first
    assert not remote.has(made.name)
    assert push(made, remote, lambda count: None)
    assert len(sent) == len(set(sent)) == len(made.manifest["files"])
    assert not push(made, remote, lambda count: None)
    assert len(sent) == len(made.manifest["files"])


def test_a_damaged_artifact_is_not_sent(places):
    _, _, made, address = places
    (made.path / "examples.npz").write_bytes(b"x")
    with pytest.raises(StoreError, match="examples.npz has 1 bytes"):
        push(made, remote_at(address), lambda count: None)
    assert Objects(address).list("") == []
