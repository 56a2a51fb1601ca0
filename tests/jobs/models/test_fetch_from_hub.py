"""`model fetch` from a hub on the loopback: weights in parts, in several forms, and behind an agreement."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from microtome.jobs.hub import hub_model
from microtome.jobs.models.fetch import fetch
from microtome.jobs.models.source import find_model
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MissingError
from tests.jobs.hub_emulator import AGREED

REPO = "someone/large"
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def in_parts(tiny_models, tmp_path_factory):
    """A model whose weights are in several files, with an index."""
    folder = tmp_path_factory.mktemp("parts")
    shutil.copytree(tiny_models / "bert", folder, dirs_exist_ok=True)
    (folder / "model.safetensors").unlink()
    model = AutoModel.from_pretrained(tiny_models / "bert")
    model.save_pretrained(folder, max_shard_size="12KB")
    assert len(parts_of(folder)) > 2
    return folder


@pytest.fixture
def published(hub_emulator, in_parts, tmp_path):
    """The hub with that model, in a folder that a test may change."""
    folder = tmp_path / "published"
    shutil.copytree(in_parts, folder)
    hub_emulator.publish(REPO, folder)
    return folder


def parts_of(folder):
    return sorted(path.name for path in folder.glob("model-*.safetensors"))


def weights_of(folder):
    return {name: value for path in folder.glob("*.safetensors") for name, value in load_file(path).items()}


def assert_same_weights(folder, other):
    ours, theirs = weights_of(folder), weights_of(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_in_parts_are_fetched_with_their_index(hub_emulator, published, tmp_path):
    folder = fetch(REPO, str(tmp_path / "fetched"))
    assert parts_of(folder) == parts_of(published)
    assert set(parts_of(folder)) <= set(hub_emulator.downloads())
    for ours, theirs in zip(*(load(place) for place in (folder, published)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    hub_model.cache_clear()
    store = Store(tmp_path / "store")
    assert find_model(str(folder), store).identity == find_model(REPO, store).identity


def load(folder):
    return AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).parameters()


def test_pickled_parts_beside_parts_are_left_there(hub_emulator, published, tmp_path):
    for name in ("pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "tf_model.h5"):
        (published / name).write_bytes(b"{}")
    folder = fetch(REPO, str(tmp_path / "fetched"))
    assert_same_weights(folder, published)
    assert not any(name.endswith((".bin", ".h5")) for name in hub_emulator.downloads())
    assert sorted(path.name for path in folder.iterdir() if "pytorch" in path.name) == []


def test_parts_of_an_older_upload_are_not_fetched(hub_emulator, published, tmp_path):
    """Somebody saved again with another number of parts, and left some of the old ones."""
    stale = "model-00002-of-00099.safetensors"
    shutil.copyfile(published / parts_of(published)[0], published / stale)
    folder = fetch(REPO, str(tmp_path / "fetched"))
    assert stale not in [*hub_emulator.downloads(), *parts_of(folder)]
    assert_same_weights(folder, published.parent / "fetched")
    assert len(parts_of(folder)) == len(parts_of(published)) - 1


def test_one_file_beside_parts_is_fetched_without_their_index(hub_emulator, published, tiny_models, tmp_path):
    shutil.copyfile(tiny_models / "bert" / "model.safetensors", published / "model.safetensors")
    folder = fetch(REPO, str(tmp_path / "fetched"))
    assert [path.name for path in folder.glob("*.safetensors*")] == ["model.safetensors"]


def test_a_part_that_the_index_names_and_nobody_has_is_one_line(hub_emulator, published, tmp_path):
    last = parts_of(published)[-1]
    (published / last).unlink()
    with pytest.raises(InputError, match=f"{INDEX} names {last}, which is not there") as raised:
        fetch(REPO, str(tmp_path / "fetched"))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {"w": "../out.safetensors"}}'])
def test_an_index_that_is_none_is_one_line(hub_emulator, published, tmp_path, content):
    (published / INDEX).write_text(content)
    with pytest.raises(InputError, match=INDEX):
        fetch(REPO, str(tmp_path / "fetched"))
    assert not (tmp_path / "fetched").exists()


def test_pickled_parts_alone_become_one_file(hub_emulator, published, tmp_path):
    names = parts_of(published)
    weight_map = {}
    for number, name in enumerate(names, 1):
        part, pickled = load_file(published / name), f"pytorch_model-{number:05}-of-{len(names):05}.bin"
        torch.save(part, published / pickled)
        weight_map |= dict.fromkeys(part, pickled)
        (published / name).unlink()
    (published / INDEX).unlink()
    (published / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    folder = fetch(REPO, str(tmp_path / "fetched"))
    assert [path.name for path in folder.glob("*.safetensors*")] == ["model.safetensors"]
    assert weights_of(folder).keys() == weight_map.keys()


def test_a_gated_model_is_fetched_with_the_token_of_who_agreed(
    hub_emulator, published, tmp_path, monkeypatch
):
    hub_emulator.repos[REPO].gated = True
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(MissingError, match="needs an agreement on its page and HF_TOKEN") as raised:
        fetch(REPO, str(tmp_path / "fetched"))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "fetched").exists()
    monkeypatch.setenv("HF_TOKEN", AGREED)
    hub_model.cache_clear()
    assert_same_weights(fetch(REPO, str(tmp_path / "fetched")), published)


def test_a_chat_template_in_a_file_of_its_own_comes_along_and_is_part_of_the_identity(
    hub_emulator, published, tmp_path
):
    store, template = Store(tmp_path / "store"), published / "chat_template.jinja"
    without = find_model(str(published), store).identity
    template.write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    folder = fetch(REPO, str(tmp_path / "fetched"))
    assert (folder / template.name).read_text() == template.read_text()
    identities = {find_model(str(place), store).identity for place in (folder, published, REPO)}
    assert len(identities) == 1
    assert identities != {without}
