"""The identity of a model is its weights, config and tokenizer, wherever they are."""

import hashlib
import os
import shutil
import time
from types import SimpleNamespace

import huggingface_hub
import pytest

from microtome.jobs import hub
from microtome.jobs.models import source
from microtome.jobs.models.fetch import fetch
from microtome.jobs.models.source import find_model
from microtome.store.artifacts import digests
from microtome.store.artifacts.store import Store
from microtome.store.errors import MissingError

REPO = "someone/model"
COMMIT = "c" * 40
LARGE = 10_000  # bytes, above which this hub stores a file by its sha256


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


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


class FakeHub:
    """A hub with one repository: what `HfApi` and `snapshot_download` say, and the local cache they fill."""

    def __init__(self, published, cache):
        self.published, self.cache, self.commit = published, cache, COMMIT
        self.downloads = []

    def model_info(self, repo, files_metadata=False):
        assert files_metadata, "without it the hub does not tell the sha256"
        siblings = []
        for path in sorted(p for p in self.published.rglob("*") if p.is_file()):
            lfs = SimpleNamespace(sha256=sha256(path)) if path.stat().st_size > LARGE else None
            siblings.append(SimpleNamespace(rfilename=str(path.relative_to(self.published)), lfs=lfs))
        return SimpleNamespace(sha=self.commit, siblings=siblings)

    def download(self, repo, revision, patterns, repo_type="model"):
        """As the local cache is laid out: links to blobs, each named by its sha256 or, if small, by git."""
        snapshot = self.cache / "snapshots" / (revision or self.commit)
        for folder in (snapshot, self.cache / "blobs"):
            folder.mkdir(parents=True, exist_ok=True)
        for pattern in patterns:
            for path in self.published.glob(pattern):
                name = (
                    sha256(path)
                    if path.stat().st_size > LARGE
                    else hashlib.sha1(path.read_bytes()).hexdigest()
                )
                shutil.copyfile(path, self.cache / "blobs" / name)
                if not (snapshot / path.name).exists():
                    (snapshot / path.name).symlink_to(f"../../blobs/{name}")
                self.downloads.append(path.name)
        return snapshot


@pytest.fixture
def fake_hub(model, tmp_path, monkeypatch):
    fake = FakeHub(model, tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(hub, "hub_model", hub.hub_model.__wrapped__)
    monkeypatch.setattr(source, "hub_model", hub.hub_model)
    monkeypatch.setattr(source, "download_files", fake.download)
    monkeypatch.setattr("microtome.jobs.models.fetch.download_files", fake.download)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return fake


def offline(fake, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = fake.cache / "snapshots" / fake.commit / "config.json"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: str(config))


def test_the_hub_and_a_folder_made_from_it_are_one_model(fake_hub, model, tmp_path):
    online = find_model(REPO, Store())
    assert "model.safetensors" not in fake_hub.downloads  # the weights stay where they are
    assert online.hub == REPO
    fetched = find_model(str(fetch(REPO, str(tmp_path / "fetched"))), Store())
    assert fetched.identity == online.identity
    assert find_model(str(model), Store()).identity == online.identity


def test_another_commit_with_the_same_files_is_the_same_model(fake_hub, model):
    first = find_model(REPO, Store()).identity
    (model / "README.md").write_text("a better text")
    fake_hub.commit = "d" * 40
    assert find_model(REPO, Store()).identity == first
    (model / "tokenizer.json").write_text((model / "tokenizer.json").read_text() + "\n")
    fake_hub.commit = "e" * 40
    assert find_model(REPO, Store()).identity != first


def test_offline_the_local_cache_tells_the_same(fake_hub, monkeypatch, tmp_path):
    online = find_model(REPO, Store()).identity
    fake_hub.download(REPO, COMMIT, hub.MODEL_FILES)
    offline(fake_hub, monkeypatch)
    weights = fake_hub.cache / "snapshots" / COMMIT / "model.safetensors"
    read = []
    real = digests.Digests.of_file
    monkeypatch.setattr(digests.Digests, "of_file", lambda self, path: read.append(path) or real(self, path))
    other = Store(tmp_path / "another")  # which has never asked the hub
    assert find_model(REPO, other).identity == online
    assert read
    assert weights not in read


def test_offline_a_copy_in_place_of_a_link_is_read(fake_hub, monkeypatch, tmp_path):
    online = find_model(REPO, Store()).identity
    snapshot = fake_hub.download(REPO, COMMIT, hub.MODEL_FILES)
    content = (snapshot / "model.safetensors").read_bytes()
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").write_bytes(content)
    offline(fake_hub, monkeypatch)
    assert find_model(REPO, Store(tmp_path / "another")).identity == online


def test_offline_a_local_cache_with_some_of_the_files_is_known_by_its_commit(fake_hub, monkeypatch, tmp_path):
    Store().root.mkdir()
    online = find_model(REPO, Store()).identity
    fake_hub.download(REPO, COMMIT, ["*.safetensors"])
    snapshot = fake_hub.cache / "snapshots" / COMMIT
    (snapshot / "tokenizer.json").unlink()
    offline(fake_hub, monkeypatch)
    assert find_model(REPO, Store()).identity == online
    assert find_model(REPO, Store(tmp_path / "another")).identity != online


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


def test_only_pickled_weights_are_refused_before_anything_is_downloaded(fake_hub, model):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(MissingError, match="has only pickled weights. microtome model fetch"):
        find_model(REPO, Store())
    assert fake_hub.downloads == []


def test_weights_are_read_once_while_they_stay_as_they_are(model, monkeypatch):
    Store().root.mkdir()
    monkeypatch.setattr(digests, "SETTLED", -3600 * 10**9)  # they count as written long ago
    first = find_model(str(model), Store()).identity
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert find_model(str(model), Store()).identity == first
    monkeypatch.undo()
    os.utime(model / "config.json", (time.time(), 1))
    assert find_model(str(model), Store()).identity == first
