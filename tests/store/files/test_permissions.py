"""Who may read the store: what the umask allows, and of private artifacts their owner alone."""

import os
import stat

import h5py
import numpy as np
import pytest

from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import StoreError

UMASKS = {0o022: (0o644, 0o755), 0o027: (0o640, 0o750), 0o077: (0o600, 0o700), 0o002: (0o664, 0o775)}
UMASKS[0] = (0o666, 0o777)


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def write_all_sorts(folder):
    """Files as libraries make them: with modes of their own, in folders, through HDF5 and numpy."""
    (folder / "plain.txt").write_text("x")
    (folder / "deep" / "er").mkdir(parents=True)
    np.savez(folder / "deep" / "arrays.npz", a=np.arange(3))
    with h5py.File(folder / "deep" / "er" / "a.h5", "w") as file:
        file["a"] = [1]
    for name, bits in (("weights.safetensors", 0o600), ("open.bin", 0o666), ("tool", 0o755)):
        (folder / name).write_text("x")
        (folder / name).chmod(bits)
    (folder / "closed").mkdir(mode=0o700)
    (folder / "closed" / "x").write_text("x")


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("private", [False, True])
def test_every_file_of_an_artifact_has_the_rights_of_one_rule(tmp_path, umask, private, resumable):
    store = Store(tmp_path / "store")
    request = Request("extract", 1, {}, {}, "thing", private=private)
    with store.begin(request, resumable=resumable) as staging:
        expected = 0o700 if private else UMASKS[umask][1]
        assert mode(staging.path) == expected
        write_all_sorts(staging.path)
        (staging.scratch / "note").write_text("x")
    made = store.find(request)
    file_mode, folder_mode = (0o600, 0o700) if private else UMASKS[umask]
    found = {path.relative_to(made.path).as_posix(): mode(path) for path in made.path.rglob("*")}
    folders = {path.relative_to(made.path).as_posix() for path in made.path.rglob("*") if path.is_dir()}
    assert len(found) == 8 + len(folders)
    assert found == {name: folder_mode if name in folders else file_mode for name in found}
    assert mode(made.path) == folder_mode
    assert made.private == private


def test_staging_that_was_open_is_closed_when_the_job_is_private(tmp_path):
    store = Store(tmp_path)
    for private in (False, True):
        request = Request("extract", 1, {}, {}, "thing", private=private)
        with pytest.raises(ZeroDivisionError), store.begin(request, resumable=True) as staging:
            (staging.path / "part").write_text("x")
            raise ZeroDivisionError
    assert mode(staging.path) == 0o700


def test_a_folder_that_hands_its_group_on_goes_on_doing_so(tmp_path):
    store = Store(tmp_path)
    request = Request("extract", 1, {}, {}, "thing")
    with store.begin(request) as staging:
        (staging.path / "deep").mkdir()
        (staging.path / "deep").chmod(0o2755)
    assert mode(store.find(request).path / "deep") & 0o7000 == 0o2000


def test_private_is_not_in_the_identity():
    plain, private = (Request("extract", 1, {}, {}, "thing", private=flag) for flag in (False, True))
    assert plain.id == private.id


def test_the_notes_of_a_store_have_the_rights_of_the_umask(tmp_path, umask):
    store = Store(tmp_path / "store")
    store.remember({"model:bert": "aa"})
    assert {mode(path) for path in store.root.iterdir()} == {UMASKS[umask][0]}


def test_a_disk_without_rights_takes_what_is_open_and_refuses_what_is_private(tmp_path, monkeypatch):
    def refuse(*args, **more):
        raise PermissionError(1, "Operation not permitted")

    store = Store(tmp_path)
    monkeypatch.setattr(os, "chmod", refuse)
    plain, private = (Request("extract", 1, {"n": n}, {}, "thing", private=bool(n)) for n in range(2))
    with store.begin(plain) as staging:
        os.close(os.open(staging.path / "own", os.O_CREAT | os.O_WRONLY, 0o600))
    assert store.find(plain) is not None
    with pytest.raises(StoreError, match="Operation not permitted"), store.begin(private):
        pass
    assert store.find(private) is None
