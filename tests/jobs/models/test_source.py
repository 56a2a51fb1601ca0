"""The identity of a model is its weights, config and tokenizer, wherever they are."""

import hashlib
import os
import shutil
import time

import pytest

from microtome.jobs.hub import hub_model
from microtome.jobs.models.fetch import fetch
from microtome.jobs.models.source import find_model
from microtome.store.artifacts import digests
from microtome.store.artifacts.store import Store
from microtome.store.errors import MissingError
from tests.jobs.hub_emulator import LARGE

REPO = "someone/model"


@pytest.fixture
def model(tiny_models, tmp_path):
    """A model folder as a repository has it, with files that are no part of the model."""
    folder = tmp_path / "published"
    shutil.copytree(tiny_models / "bert", folder)
    (folder / "README.md").write_text("about it")
    (folder / "flax_model.msgpack").write_bytes(b"other weights")
    (folder / "vocab.bpe").write_text("what no download brings")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.safetensors").write_bytes(b"of another kind")
    assert (folder / "model.safetensors").stat().st_size > LARGE
    return folder


@pytest.fixture
def repo(hub_emulator, model):
    """The repository of a hub that has this model."""
    return hub_emulator.publish(REPO, model)


def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub_model.cache_clear()


def find_again(store=None):
    """The model as a process finds it that has asked nothing yet."""
    hub_model.cache_clear()
    return find_model(REPO, store or Store())


def download(store=None):
    """The folder in the hub's local cache, with weights."""
    store = store or Store()
    return find_again(store).folder(store, store.root)


def test_the_hub_and_a_folder_made_from_it_are_one_model(repo, hub_emulator, model, tmp_path):
    online = find_model(REPO, Store())
    assert "model.safetensors" not in hub_emulator.downloads()  # the weights stay where they are
    assert online.hub == REPO
    fetched = find_model(str(fetch(REPO, str(tmp_path / "fetched"))), Store())
    assert fetched.identity == online.identity
    assert find_model(str(model), Store()).identity == online.identity


def test_another_commit_with_the_same_files_is_the_same_model(repo, model):
    first = find_again().identity
    (model / "README.md").write_text("a better text")
    repo.commit = "d" * 40
    assert find_again().identity == first
    (model / "tokenizer.json").write_text((model / "tokenizer.json").read_text() + "\n")
    repo.commit = "e" * 40
    assert find_again().identity != first


def test_offline_the_local_cache_tells_the_same(repo, monkeypatch, tmp_path):
    online = find_again().identity
    weights = download() / "model.safetensors"
    offline(monkeypatch)
    read = []
    real = digests.Digests.of_file
    monkeypatch.setattr(digests.Digests, "of_file", lambda self, path: read.append(path) or real(self, path))
    assert find_again(Store(tmp_path / "another")).identity == online  # which has never asked the hub
    assert read
    assert weights not in read


def test_offline_a_copy_in_place_of_a_link_is_read(repo, monkeypatch, tmp_path):
    online = find_again().identity
    weights = download() / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content)
    offline(monkeypatch)
    assert find_again(Store(tmp_path / "another")).identity == online


def test_offline_a_local_cache_with_some_of_the_files_is_known_by_its_commit(repo, monkeypatch, tmp_path):
    Store().root.mkdir()
    online = find_again().identity
    (download() / "tokenizer.json").unlink()
    offline(monkeypatch)
    assert find_again().identity == online
    assert find_again(Store(tmp_path / "another")).identity != online


def test_a_renamed_folder_is_the_same_and_other_weights_at_its_path_are_not(model, tmp_path):
    first = find_model(str(model), Store()).identity
    moved = model.rename(tmp_path / "renamed")
    assert find_model(str(moved), Store()).identity == first
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert find_model(str(moved), Store()).identity != first


@pytest.mark.parametrize("name", ["README.md", "flax_model.msgpack", "vocab.bpe", "onnx/model.safetensors"])
def test_what_is_no_part_of_a_model_may_change(model, name):
    first = find_model(str(model), Store()).identity
    (model / name).write_bytes(b"something else")
    assert find_model(str(model), Store()).identity == first


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_what_decides_what_a_model_does_may_not(model, name):
    first = find_model(str(model), Store()).identity
    (model / name).write_bytes((model / name).read_bytes() + b"\n")
    assert find_model(str(model), Store()).identity != first


def test_only_pickled_weights_are_refused_before_anything_is_downloaded(repo, hub_emulator, model):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(MissingError, match="has only pickled weights. microtome model fetch"):
        find_model(REPO, Store())
    assert hub_emulator.downloads() == []


def test_weights_are_read_once_while_they_stay_as_they_are(model, monkeypatch):
    Store().root.mkdir()
    monkeypatch.setattr(digests, "SETTLED", -3600 * 10**9)  # they count as written long ago
    first = find_model(str(model), Store()).identity
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert find_model(str(model), Store()).identity == first
    monkeypatch.undo()
    os.utime(model / "config.json", (time.time(), 1))
    assert find_model(str(model), Store()).identity == first
