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
from microtome.store.remote.objects import PARALLEL, Objects
from tests.store.remote.caches import write_cache

SPAWN = multiprocessing.get_context("spawn")  # obstore has threads, which a fork does not
pytestmark = pytest.mark.kills
TRIES, ALL_TRIES = 6, 14
TRANSFERS = ("put", "stream")  # requests that carry a file


def killed_at(request, log):
    """Kill this process around its `request`-th request, in the middle of what other threads do. Each file
    whose transfer is begun has a line in `log`."""
    count = 0

    def counted(name, real):
        def call(self, key, *args, **more):
            nonlocal count
            count += 1
            if count == request:
                os.kill(os.getpid(), signal.SIGKILL)
            if name in TRANSFERS:
                with log.open("a") as lines:
                    lines.write(f"{key}\n")
            return real(self, key, *args, **more)

        return call

    for name in (*TRANSFERS, "put_new", "get", "list", "size", "delete"):
        setattr(Objects, name, counted(name, getattr(Objects, name)))


class Transfers:
    """The files whose transfer was begun, try by try."""

    def __init__(self, folder):
        self._folder = folder
        self._folder.mkdir()
        self._logs = []

    def new_log(self):
        self._logs.append(self._folder / str(len(self._logs)))
        self._logs[-1].touch()
        return self._logs[-1]

    def again(self):
        """How many files of a try had been begun by one before it, at most."""
        before, most = set(), 0
        for log in self._logs:
            keys = log.read_text().split()
            assert len(keys) == len(set(keys))
            most = max(most, len(before.intersection(keys)))
            before.update(keys)
        return most


def push_all(root, address, request, log):
    killed_at(request, log)
    remote = remote_at(address)
    for artifact in compare(Store(root), remote).here:
        push(artifact, remote, lambda count: None)


def pull_all(root, address, request, log):
    killed_at(request, log)
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


def requests_to_die_at(count, thorough):
    tries = ALL_TRIES if thorough else TRIES
    return sorted(np.random.default_rng(0).choice(np.arange(1, count), tries, replace=False).tolist())


def test_a_killed_push_leaves_no_artifact_or_a_whole_one(places, tmp_path, monkeypatch, thorough, note_kills):
    store, local, made, address = places
    codes, transfers = [], Transfers(tmp_path / "transfers")
    for request in requests_to_die_at(30, thorough):
        codes.append(run_killed(push_all, store.root, address, request, transfers.new_log()))
        monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / f"looks-{request}"))
        for artifact in Store(address).list():
            cache = ActivationCache(artifact.path)
            np.testing.assert_array_equal(cache.hidden(1), local.hidden(1))
    assert -signal.SIGKILL in codes
    run_killed(push_all, store.root, address, 0, transfers.new_log())
    assert [a.id for a in Store(address).list()] == [made.id]
    assert transfers.again() <= PARALLEL  # those that were under way
    note_kills("push", codes.count(-signal.SIGKILL), transfers.again(), "files sent")


def test_a_killed_pull_leaves_no_artifact_or_a_whole_one(places, tmp_path, thorough, note_kills):
    _, local, made, address = places
    push(made, remote_at(address), lambda count: None)
    target = tmp_path / "target"
    codes, transfers = [], Transfers(tmp_path / "transfers")
    for request in requests_to_die_at(16, thorough):
        codes.append(run_killed(pull_all, target, address, request, transfers.new_log()))
        for artifact in Store(target).list():
            assert list(artifact.contents.faults()) == []
    assert -signal.SIGKILL in codes
    run_killed(pull_all, target, address, 0, transfers.new_log())
    assert transfers.again() <= PARALLEL
    note_kills("pull", codes.count(-signal.SIGKILL), transfers.again(), "files read")
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
