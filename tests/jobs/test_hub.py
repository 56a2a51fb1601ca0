"""The hub as it behaves: huggingface_hub's own client against a hub on the loopback."""

import shutil

import pytest

from microtome.jobs.hub import hub_model, model_files, weight_files
from microtome.jobs.models.fetch import fetch
from microtome.jobs.models.source import find_model
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MicrotomeError, MissingError
from tests.jobs.hub_emulator import Fault

REPO = "someone/model"


@pytest.fixture
def published(hub_emulator, tiny_models, tmp_path):
    """The hub with one model, in a folder that a test may change."""
    folder = tmp_path / "published"
    shutil.copytree(tiny_models / "bert", folder)
    hub_emulator.publish(REPO, folder)
    return folder


def load(store, reference=REPO):
    """The folder that a job loads a model from, as a process that has asked nothing yet."""
    hub_model.cache_clear()
    return find_model(reference, store).folder(store, store.root)


def go_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub_model.cache_clear()


def test_a_model_is_downloaded_once(hub_emulator, published, tmp_path):
    store = Store(tmp_path / "store")
    folder = load(store)
    assert (folder / "model.safetensors").read_bytes() == (published / "model.safetensors").read_bytes()
    assert hub_emulator.downloads().count("model.safetensors") == 1
    hub_emulator.requests.clear()
    assert load(store) == folder
    assert hub_emulator.downloads() == []


def test_what_was_downloaded_is_found_offline_and_is_the_same_model(
    hub_emulator, published, tmp_path, monkeypatch
):
    online = find_model(REPO, Store(tmp_path / "store"))
    folder = load(Store(tmp_path / "store"))
    go_offline(monkeypatch)
    hub_emulator.requests.clear()
    store = Store(tmp_path / "another")  # which has never asked the hub
    assert find_model(REPO, store).identity == online.identity
    assert load(store) == folder
    assert hub_emulator.requests == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_was_downloaded_is_found_while_the_hub_is_down(
    hub_emulator, published, tmp_path, caplog, status
):
    online = find_model(REPO, Store(tmp_path / "store")).identity
    folder = load(Store(tmp_path / "store"))
    hub_emulator.faults.append(Fault("", status, times=1000))
    store = Store(tmp_path / "another")
    assert load(store) == folder
    hub_model.cache_clear()
    assert find_model(REPO, store).identity == online
    assert f"the hub answers {status}" in caplog.text
    assert "local copy is used, commit cccccccc" in caplog.text


def test_what_was_downloaded_is_found_where_nothing_listens(hub_emulator, published, tmp_path, monkeypatch):
    folder = load(Store(tmp_path / "store"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert load(Store(tmp_path / "store")) == folder


def test_a_model_that_was_only_planned_is_not_found_offline(hub_emulator, published, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    find_model(REPO, store).description(store)
    assert "model.safetensors" not in hub_emulator.downloads()
    go_offline(monkeypatch)
    with pytest.raises(MissingError, match="is not in the hub's local cache with its weights"):
        find_model(REPO, store)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_by_itself_is_asked_again(hub_emulator, published, tmp_path, status):
    hub_emulator.faults += [Fault(f"/api/models/{REPO}", status, times=2), Fault("GET /someone", status)]
    load(Store(tmp_path / "store"))
    assert hub_emulator.waits[:2] == [1, 2]


def test_the_hub_is_asked_again_when_it_says(hub_emulator, published, tmp_path):
    hub_emulator.faults.append(Fault(f"/api/models/{REPO}", 429, headers={"Retry-After": "17"}))
    find_model(REPO, Store(tmp_path / "store"))
    assert hub_emulator.waits == [17]


# what goes wrong, where, and what the one line says of it
CASES = {
    "too many requests": (429, "/api/", "429 Too Many Requests, 5 times in a row; wait a few minutes"),
    "overloaded": (503, "/api/", "503 Service Unavailable, 5 times in a row; try again later"),
    "broken": (500, "/api/", "500 Internal Server Error, 5 times in a row"),
    "files refused": (503, "GET /someone/model/resolve", "503 Service Unavailable, 5 times"),
    "truncated every time": ("truncated", "model.safetensors", "could not be reached"),
    "wrong bytes": ("wrong", "GET /someone/model/resolve/" + "c" * 40 + "/model", "bytes that the hub"),
    "wrong bytes of a small file": ("wrong", "config.json", "config.json does not have the bytes"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stays_wrong_is_one_line(hub_emulator, published, tmp_path, case):
    what, where, line = CASES[case]
    hub_emulator.faults.append(Fault(where, what, times=1000))
    with pytest.raises(MicrotomeError, match=line) as caught:
        load(Store(tmp_path / "store"))
    assert "\n" not in str(caught.value)
    hub_emulator.faults.clear()
    folder = load(Store(tmp_path / "store"))  # nothing wrong was left behind
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == (published / name).read_bytes()


@pytest.mark.parametrize("what", ["truncated", "stalled"])
def test_a_download_that_breaks_off_goes_on(hub_emulator, published, tmp_path, what):
    hub_emulator.faults.append(Fault("GET /someone/model/resolve/" + "c" * 40 + "/model.safetensors", what))
    folder = load(Store(tmp_path / "store"))
    assert (folder / "model.safetensors").read_bytes() == (published / "model.safetensors").read_bytes()
    assert hub_emulator.downloads().count("model.safetensors") == 2


def test_what_is_not_there_or_not_allowed_is_one_line(hub_emulator, published, tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(MissingError, match="model 'a/b' does not exist on the hub, or is private"):
        find_model("a/b", store)
    with pytest.raises(MissingError, match="has no such revision"):
        find_model(f"{REPO}@v9", store)
    hub_emulator.publish("a/gated", published, gated=True)
    with pytest.raises(MissingError, match="needs an agreement on its page and HF_TOKEN"):
        find_model("a/gated", store)
    assert hub_emulator.waits == []  # none of this passes by itself


def test_weights_that_changed_in_the_local_cache_are_refused(hub_emulator, published, tmp_path):
    weights = load(Store(tmp_path / "store")) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.resolve().write_bytes(content)
    with pytest.raises(MissingError, match="model.safetensors does not have the bytes"):
        load(Store(tmp_path / "another"))


VARIANTS = {
    "one file": (["model.safetensors", "model.fp16.safetensors"], {"model.safetensors"}),
    "parts beside the whole": (
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "consolidated.safetensors"],
        {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"},
    ),
    "the whole beside parts": (
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors"],
        {"model.safetensors"},
    ),
    "another name": (["weights.safetensors"], {"weights.safetensors"}),
    "none": (["pytorch_model.bin"], set()),
}


@pytest.mark.parametrize("case", VARIANTS)
def test_one_set_of_weights(case):
    names, weights = VARIANTS[case]
    assert weight_files(names) == weights
    assert model_files([*names, "config.json", "a.py"]) == sorted({"config.json", *weights})


def test_variants_and_other_folders_are_neither_downloaded_nor_part_of_the_identity(
    hub_emulator, published, tmp_path
):
    store = Store(tmp_path / "store")
    before = find_model(REPO, store).identity
    for name in ("model.fp16.safetensors", "onnx/model.safetensors", "onnx/config.json", "pytorch_model.bin"):
        (published / name).parent.mkdir(exist_ok=True)
        (published / name).write_bytes(b"other weights")
    hub_emulator.repos[REPO].commit = "d" * 40
    load(store)
    assert sorted(set(hub_emulator.downloads())) == sorted(model_files([p.name for p in published.iterdir()]))
    fetched = fetch(REPO, str(tmp_path / "fetched"))
    hub_model.cache_clear()
    identities = {find_model(str(place), store).identity for place in (REPO, fetched, published)}
    assert identities == {before}
    assert not (fetched / "model.fp16.safetensors").exists()


def test_a_revision_is_what_it_was(hub_emulator, published, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    first = find_model(REPO, store).identity
    repo = hub_emulator.repos[REPO]
    repo.revisions = {"v1": "c" * 40}
    assert load(store, f"{REPO}@v1").name == "c" * 40
    assert find_model(f"{REPO}@v1", store).identity == first
    assert find_model(f"{REPO}@{'c' * 40}", store).identity == first
    go_offline(monkeypatch)
    assert find_model(f"{REPO}@v1", store).identity == first
    with pytest.raises(MissingError, match="model fetch someone/model@v2 --out"):
        find_model(f"{REPO}@v2", store)


SUITE = """
name: own
description: one model at a revision
models: {pinned: {source: someone/model, revision: REVISION}}
tasks: [demo-ner]
fractions: [0]
"""


def test_a_suite_pins_a_revision(hub_emulator, published, tmp_path):
    hub_emulator.repos[REPO].revisions = {"v1": "c" * 40}
    store, file = Store(tmp_path / "store"), tmp_path / "suite.yaml"

    def plan(revision):
        file.write_text(SUITE.replace("REVISION", revision))
        return make_plan(load_suite(str(file)), store)

    by_tag, by_commit = plan("v1"), plan("c" * 40)
    assert [job.id for job in by_tag.jobs] == [job.id for job in by_commit.jobs]  # the weights are one
    assert not by_tag.missing
    assert [absence.name for absence in plan("v9").missing] == ["someone/model@v9"]


@pytest.mark.parametrize(
    "model",
    ["{source: ./folder, revision: v1}", "{source: a/b@v1, revision: v2}", "{source: a/b, revision: '@'}"],
)
def test_a_revision_without_effect_is_refused(tmp_path, model):
    file = tmp_path / "suite.yaml"
    file.write_text(SUITE.replace("{source: someone/model, revision: REVISION}", model))
    with pytest.raises(InputError, match="revision"):
        load_suite(str(file))
