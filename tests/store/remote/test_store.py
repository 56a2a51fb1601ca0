"""A store at an address: what is finished on one machine is found on another, and machines have nothing in
common but the address. Each machine is a scratch folder of its own."""

import numpy as np
import pytest

from microtome.store import open_cache
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError, MissingError, StoreError
from microtome.store.remote import claims
from microtome.store.remote.local_copies import LAYERS
from microtome.store.remote.objects import Objects
from tests.store.remote.caches import LAYERS_OF_MODEL, write_cache

REQUEST = Request("probe", 1, {"value": 1}, {"data": "aa"}, "thing")


@pytest.fixture(params=["file", "s3"])
def address(request, tmp_path, monkeypatch):
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "scratch"))
    return f"file://{tmp_path}/remote" if request.param == "file" else request.getfixturevalue("s3")


@pytest.fixture
def machine(address, tmp_path, monkeypatch):
    """Opens the store on a machine, by its name."""

    def opened(name):
        monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / name))
        return Store(address)

    return opened


def make(store, request=REQUEST, text="x"):
    with store.begin(request) as staging:
        if not staging.overtaken:
            (staging.path / "a.txt").write_text(text)
            (staging.path / "deep").mkdir()
            (staging.path / "deep" / "b.txt").write_text("b" * 1000)
    return store.find(request)


def test_what_one_machine_finishes_another_finds(machine):
    assert machine("one").find(REQUEST) is None
    made = make(machine("one"))
    other = machine("two")
    for found in (
        other.find(REQUEST),
        other.done(REQUEST),
        other.open(made.id[:8]),
        other.open(made.name),
        other.list()[0],
        other.find_all([REQUEST])[REQUEST.id],
    ):
        assert found.manifest == made.manifest
        assert found.whole
        assert found.contents.read("a.txt") == b"x"
        assert (found.contents.path("deep") / "b.txt").read_text() == "b" * 1000


def test_the_scratch_folder_has_the_files_only_once_they_are_read(machine):
    make(machine("one"))
    found = machine("two").find(REQUEST)
    assert [p.name for p in found.path.iterdir()] == ["manifest.json"]
    found.contents.read("a.txt")
    assert {p.name for p in found.path.iterdir()} == {"manifest.json", "a.txt"}


def test_a_machine_does_not_make_what_another_has_made(machine):
    make(machine("one"))
    with machine("two").begin(REQUEST) as staging:
        assert staging.overtaken


def test_another_name_is_found_by_its_id(machine):
    make(machine("one"))
    renamed = Request("probe", 1, {"value": 1}, {"data": "aa"}, "called otherwise")
    assert machine("two").find(renamed).id == REQUEST.id


def test_what_is_not_sent_is_not_done_and_is_sent_when_its_job_runs_again(machine, monkeypatch):
    store = machine("one")
    monkeypatch.setattr(Objects, "put_new", refuse_manifests(Objects.put_new))
    with pytest.raises(StoreError, match=r"is finished in .* but not sent: no network.*microtome store push"):
        make(store)
    monkeypatch.undo()
    store = machine("one")
    assert store.find(REQUEST) is not None
    assert store.done(REQUEST) is None
    assert store.find_all([REQUEST]) == {}
    with store.begin(REQUEST) as staging:
        assert staging.overtaken
    assert store.done(REQUEST) is not None
    assert machine("two").done(REQUEST) is not None


def refuse_manifests(put_new):
    def refusing(self, key, content):
        if key.endswith("manifest.json"):
            raise StoreError("no network")
        return put_new(self, key, content)

    return refusing


def test_one_that_comes_back_late_ends_with_what_is_there(machine):
    """Its lease is over, another has made the artifact, and the bytes differ."""
    late = machine("late")
    with late.begin(REQUEST) as staging:
        (staging.path / "a.txt").write_text("late")
        Objects(late.remote.address).delete([claims.claim_key(f"probe/{REQUEST.folder}")])
        first = make(machine("first"), text="first")
        first_manifest = first.manifest
    assert machine("late").find(REQUEST).manifest == first_manifest
    assert machine("late").find(REQUEST).contents.read("a.txt") == b"first"
    assert machine("third").find(REQUEST).contents.read("a.txt") == b"first"


def test_a_machine_waits_for_another_that_makes_the_same(machine, monkeypatch, capsys):
    from microtome.store.artifacts import remote_work

    monkeypatch.setattr(remote_work, "POLL", 0.0)
    first, second = machine("first"), machine("second")
    looked = second.remote.claims.holder_of
    with first.begin(REQUEST) as staging:
        (staging.path / "a.txt").write_text("first")
        finish = staging

        def finish_then_look(name):
            first._commit(finish)
            first.remote.send(f"probe/{REQUEST.folder}", first.root / "probe" / REQUEST.folder, record(first))
            return looked(name)

        monkeypatch.setattr(second.remote.claims, "holder_of", finish_then_look)
        with second.begin(REQUEST) as waited:
            assert waited.overtaken
        staging.overtaken = True
    assert "waits for" in capsys.readouterr().out


def record(store):
    return super(Store, store).find(REQUEST).manifest["files"]


def test_what_is_removed_is_gone_for_all(machine):
    store = machine("one")
    make(store)
    other = machine("two")
    other.remove(other.locate(REQUEST.id[:8]))
    assert machine("two").find(REQUEST) is None
    assert Objects(store.remote.address).list("files") == []
    assert Objects(store.remote.address).list("artifacts") == []


def test_a_damaged_object_is_never_read(machine):
    make(machine("one"))
    other = machine("two")
    objects = Objects(other.remote.address)
    key = next(e.key for e in objects.list("files") if e.key.endswith("a.txt"))
    objects.put(key, b"y")
    with pytest.raises(StoreError, match="arrived damaged"):
        other.find(REQUEST).contents.read("a.txt")


def test_a_damaged_copy_is_fetched_again(machine):
    make(machine("one"))
    found = machine("two").find(REQUEST)
    found.contents.read("a.txt")
    (found.path / "a.txt").write_text("y")
    assert machine("two").find(REQUEST).contents.read("a.txt") == b"x"


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_cache_is_read_from_its_address(machine, address, form, compression):
    local, made = write_cache(machine("one"), form, compression)
    machine("two")
    cache = open_cache(f"{address}/{made.id[:12]}")
    for layer in range(LAYERS_OF_MODEL + 1):
        np.testing.assert_array_equal(cache.hidden(layer), local.hidden(layer))
        np.testing.assert_array_equal(cache.hidden(layer, 2), local.hidden(layer, 2))
    for layer in range(LAYERS_OF_MODEL):
        for (e, one), (f, other) in zip(
            cache.iter_attention(layer), local.iter_attention(layer), strict=True
        ):
            assert e == f
            np.testing.assert_array_equal(one, other)
    again = ActivationCache(cache.path)  # a copy's folder is enough
    np.testing.assert_array_equal(again.attention(1, 3), local.attention(1, 3))


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_one_layer_is_one_range_of_each_part(machine, address, monkeypatch, form):
    local, made = write_cache(machine("one"), form, "none")
    machine("two")
    fetched = []
    real = Objects.stream
    monkeypatch.setattr(
        Objects,
        "stream",
        lambda self, key, start, length: fetched.append(length) or real(self, key, start, length),
    )
    cache = open_cache(f"{address}/{made.name}")
    fetched.clear()  # examples.npz
    values = cache.hidden(1)
    np.testing.assert_array_equal(values, local.hidden(1))
    assert sum(fetched) == values.nbytes
    assert len(fetched) == len(made.manifest["outputs"]["cache"]["parts"]) > 1
    cache.hidden(1)
    open_cache(f"{address}/{made.name}").hidden(1)
    assert sum(fetched) == values.nbytes, "what is here is not fetched again"


def test_local_copies_stay_below_their_size_and_the_oldest_go(machine, address, monkeypatch):
    local, made = write_cache(machine("one"), "zarr", "none")
    size = local.hidden(0).nbytes + (local.path / "examples.npz").stat().st_size
    monkeypatch.setenv("MICROTOME_LOCAL_GB", str((size + 10) / 1e9))
    machine("two")
    cache = open_cache(f"{address}/{made.id}")
    for layer in range(LAYERS_OF_MODEL + 1):
        np.testing.assert_array_equal(cache.hidden(layer), local.hidden(layer))
        held = [p for p in cache.path.rglob("*") if p.is_file() and p.name != "manifest.json"]
        assert sum(p.stat().st_size for p in held) <= size + 10
    newest = {a["hidden"]["checksums"][LAYERS_OF_MODEL] for a in arrays(made)}
    assert newest <= {p.name for p in (cache.path / LAYERS).iterdir()}
    np.testing.assert_array_equal(cache.hidden(0), local.hidden(0))


def arrays(artifact):
    return [part["arrays"] for part in artifact.manifest["outputs"]["cache"]["parts"]]


def test_a_damaged_copy_of_a_layer_is_fetched_again(machine, address):
    local, made = write_cache(machine("one"), "zarr", "none")
    machine("two")
    cache = open_cache(f"{address}/{made.id}")
    cache.hidden(1)
    for path in (cache.path / LAYERS).iterdir():
        raw = bytearray(path.read_bytes())
        raw[3] ^= 1
        path.write_bytes(raw)
    np.testing.assert_array_equal(open_cache(f"{address}/{made.id}").hidden(1), local.hidden(1))


def test_a_layer_that_is_damaged_there_is_never_read(machine, address):
    _, made = write_cache(machine("one"), "zarr", "none")
    store = machine("two")
    objects = Objects(store.remote.address)
    for entry in objects.list("files"):
        if "parts/" in entry.key:
            raw = bytearray(objects.get(entry.key)[0])
            raw[5] ^= 1
            objects.put(entry.key, bytes(raw))
    with pytest.raises(StoreError, match="damaged"):
        open_cache(f"{address}/{made.id}").hidden(0)


def test_an_address_without_an_artifact_says_what_to_write(machine, address):
    with pytest.raises(InputError, match="names no artifact; write .*/ID"):
        open_cache(address)
    with pytest.raises(MissingError, match="no artifact '0123456789' in"):
        open_cache(f"{address}/0123456789")


def test_a_stated_size_that_is_none_is_named(address, monkeypatch):
    monkeypatch.setenv("MICROTOME_LOCAL_GB", "much")
    with pytest.raises(InputError, match="MICROTOME_LOCAL_GB is 'much'"):
        Store(address)


def test_no_secret_is_written_anywhere(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "scratch"))
    make(Store(s3))
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "scratch2"))
    Store(s3).find(REQUEST).contents.read("a.txt")
    objects = Objects(s3)
    here = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    there = [objects.get(e.key)[0] for e in objects.list("")]
    assert len(here) > 3
    assert len(there) > 3
    for content in here + there:
        assert b"a-secret-that-nobody-may-see" not in content
        assert b"a-key" not in content
