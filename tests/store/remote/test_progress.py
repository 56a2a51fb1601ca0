"""What a machine finished before it was lost is not done again by the next."""

import numpy as np
import pytest

from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.remote.claims import Claims
from microtome.store.remote.objects import Objects
from microtome.store.remote.progress import Progress, take_over
from tests.store.remote.caches import fill_parts, request, write_cache


class Lost(BaseException):
    """The machine is taken away."""


@pytest.fixture(params=["file", "s3"])
def address(request, tmp_path, monkeypatch):
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "one"))
    return f"file://{tmp_path}/remote" if request.param == "file" else request.getfixturevalue("s3")


@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_finished_parts_are_taken_over(address, tmp_path, monkeypatch, form):
    whole, _ = write_cache(Store(tmp_path / "local"), form, "none")
    wanted = request(form, "none")

    def lost_after_the_second(number):
        if number == 1:
            raise Lost

    with pytest.raises(Lost), Store(address).begin(wanted, resumable=True) as staging:
        fill_parts(staging, form, "none", after=lost_after_the_second)
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "two"))
    other = Store(address)
    with other.begin(wanted, resumable=True) as staging:
        done = fill_parts(staging, form, "none")
    assert done == list(range(2, len(whole.description.parts)))
    cache = ActivationCache(other.find(wanted).path)
    for layer in range(4):
        np.testing.assert_array_equal(cache.hidden(layer), whole.hidden(layer))
    assert other.find(wanted).manifest["files"] == whole.manifest["files"]


def test_an_artifact_leaves_no_progress_behind(address):
    store = Store(address)
    _, made = write_cache(store, "zarr", "none")
    objects = Objects(address)
    assert objects.list("progress") == []
    assert len(objects.list("files")) == len(made.manifest["files"])


@pytest.fixture
def staged(address, tmp_path):
    objects, folder = Objects(address), tmp_path / "staging"
    (folder / ".scratch").mkdir(parents=True)
    claim = Claims(objects, "one 1").take("finetune/a-00000000")
    return objects, folder, Progress(objects, "finetune/a-00000000", folder, ".scratch", claim)


def taken(objects, folder):
    folder.mkdir()
    if not take_over(objects, "finetune/a-00000000", folder, ".scratch"):
        return None
    files = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")
    return {p.relative_to(folder).as_posix(): p.read_text() for p in files}


def save(folder, number):
    state = folder / ".scratch" / f"checkpoint-{number}"
    state.mkdir()
    (state / "weights").write_text(f"w{number}")
    return state


def test_the_newest_state_is_there_and_older_ones_are_gone(staged, tmp_path):
    objects, folder, progress = staged
    progress.send_soon([save(folder, 1)])
    progress._waiting.result()
    progress.send_soon([save(folder, 2)])
    progress.close(wait=True)
    assert taken(objects, tmp_path / "other") == {".scratch/checkpoint-2/weights": "w2"}
    assert [e.key.rpartition(".scratch/")[2] for e in objects.list("files")] == ["checkpoint-2/weights"]


def test_who_has_lost_the_claim_sends_nothing_more(staged, tmp_path):
    objects, folder, progress = staged
    progress.send_soon([save(folder, 1)])
    progress._waiting.result()
    objects.put("claims/finetune/a-00000000.json", b'{"holder": "another 2"}')
    progress.send_soon([save(folder, 2)])
    progress.close(wait=True)
    assert taken(objects, tmp_path / "other") == {".scratch/checkpoint-1/weights": "w1"}


def test_a_state_that_goes_away_while_it_is_sent_does_not_fail_the_job(staged, tmp_path, capsys):
    objects, folder, progress = staged
    gone = folder / ".scratch" / "checkpoint-1"
    real = progress._record
    progress._record = lambda file, path: (path.unlink(), real(file, path))[1]
    progress.send_soon([save(folder, 1)])
    progress.close(wait=True)
    assert gone.exists()
    assert "progress is not sent" in capsys.readouterr().out
    assert taken(objects, tmp_path / "other") is None


@pytest.mark.parametrize("index", [b"[]", b"{", b'{"../x": {"bytes": 1, "checksum": "a"}}', b'{"a": 1}'])
def test_an_index_that_is_none_is_left(staged, tmp_path, index):
    objects, _, _ = staged
    objects.put("progress/finetune/a-00000000.json", index)
    assert taken(objects, tmp_path / "other") is None
    assert not (tmp_path / "x").exists()


def test_a_folder_that_holds_work_is_kept(staged, tmp_path):
    objects, folder, progress = staged
    progress.send_soon([save(folder, 1)])
    progress.close(wait=True)
    own = tmp_path / "own"
    (own / ".scratch").mkdir(parents=True)
    (own / ".scratch" / "mine").write_text("mine")
    assert not take_over(objects, "finetune/a-00000000", own, ".scratch")
    assert [p.name for p in (own / ".scratch").iterdir() if p.suffix != ".lock"] == ["mine"]


def test_a_take_over_that_was_killed_is_begun_again(staged, tmp_path):
    """A state with some of its files would look whole to a training."""
    objects, folder, progress = staged
    progress.send_soon([save(folder, 1)])
    progress.close(wait=True)
    own = tmp_path / "own"
    state = own / ".scratch" / "checkpoint-1"
    state.mkdir(parents=True)
    (state / "weights").write_text("half")
    (own / ".scratch" / ".taking-over").touch()
    assert take_over(objects, "finetune/a-00000000", own, ".scratch")
    assert (state / "weights").read_text() == "w1"


def test_of_a_state_that_is_not_all_there_nothing_is_left(staged, tmp_path, capsys):
    objects, folder, progress = staged
    state = save(folder, 1)
    (state / "optimizer").write_text("o")
    progress.send_soon([state])
    progress.close(wait=True)
    objects.delete([e.key for e in objects.list("files") if e.key.endswith("optimizer")])
    assert taken(objects, tmp_path / "other") is None
    assert not any(p.is_file() for p in (tmp_path / "other").rglob("weights"))
    assert "cannot be used" in capsys.readouterr().out
