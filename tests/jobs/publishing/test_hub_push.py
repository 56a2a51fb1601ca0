"""A push to a hub on the loopback, by huggingface_hub's own client."""

import pytest

from microtome.jobs.hub import upload_folder
from microtome.jobs.models.source import find_model
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MicrotomeError, MissingError
from tests.jobs.hub_emulator import Fault

REPO = "somebody/some-model"
LARGE_FILE = bytes(range(256)) * 100


@pytest.fixture
def hub(hub_emulator, monkeypatch):
    """The hub, and a token that may write."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    # Large files go up as git LFS has it, which the hub takes of every client.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    hub_emulator.tokens = {"hf_secret": "write", "hf_reads": "read"}
    return hub_emulator


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "export"
    made.mkdir()
    (made / "README.md").write_text("---\nlicense: mit\n---\nA model.\n")
    (made / "config.json").write_text('{"model_type": "bert"}\n')
    (made / "model.safetensors").write_bytes(LARGE_FILE)
    return made


def pushed(folder, private=True):
    return upload_folder(folder, REPO, private=private, message="made by a test")


def files_on(hub):
    on_hub = hub.repos[REPO].folder
    return {path.relative_to(on_hub).as_posix(): path.read_bytes() for path in on_hub.rglob("*")}


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_becomes_a_private_repository(hub, folder):
    assert pushed(folder) == f"{hub.address}/{REPO}"
    assert files_on(hub) == files_in(folder)
    assert list(hub.objects.values()) == [LARGE_FILE]  # small files are part of the commit
    assert hub.repos[REPO].private
    assert hub.commits == ["made by a test"]


def test_a_second_push_sends_what_has_changed(hub, folder):
    pushed(folder)
    (folder / "config.json").write_text('{"model_type": "gpt2"}\n')
    hub.requests.clear()
    pushed(folder)
    assert files_on(hub) == files_in(folder)
    assert not [request for request in hub.requests if request.startswith("PUT")]
    hub.requests.clear()
    pushed(folder)
    assert hub.commits == ["made by a test"] * 2  # the third had nothing to commit


def test_what_was_pushed_is_found_as_a_model(hub, tiny_models, tmp_path):
    upload_folder(tiny_models / "bert", REPO, private=False, message="a model")
    fetched = find_model(REPO, Store(tmp_path / "store"))
    assert fetched.identity == find_model(str(tiny_models / "bert"), Store(tmp_path / "store")).identity


def test_nothing_private_goes_into_a_public_repository(hub, folder, tmp_path):
    (tmp_path / "public").mkdir()
    hub.publish(REPO, tmp_path / "public", private=False)
    with pytest.raises(InputError, match="is there already, and public"):
        pushed(folder)
    assert files_on(hub) == {}


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("hf_unknown", "the hub does not know this HF_TOKEN"),
        ("hf_reads", "this HF_TOKEN may not write there"),
    ],
)
def test_a_token_that_may_not_write_is_one_line(hub, folder, monkeypatch, token, said):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(MissingError, match=f"cannot push to '{REPO}': {said}") as refused:
        pushed(folder)
    assert "\n" not in str(refused.value)
    assert token not in str(refused.value)
    assert REPO not in hub.repos


WHERE = ["POST /api/repos/create", "/preupload/", "objects/batch", "PUT /lfs/", "/commit/"]


@pytest.mark.parametrize("where", WHERE)
def test_a_hub_that_fails_for_a_moment_is_asked_again(hub, folder, where):
    hub.faults.append(Fault(where, 503, times=1))
    pushed(folder)
    assert files_on(hub) == files_in(folder)
    assert len(hub.commits) == 1


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("status", [500, pytest.param(503, marks=pytest.mark.thorough)])
def test_a_hub_that_goes_on_failing_is_one_line_and_nothing_is_half_there(hub, folder, where, status):
    hub.faults.append(Fault(where, status, times=1000))
    with pytest.raises(MicrotomeError) as failed:
        pushed(folder)
    assert str(failed.value).startswith(f"cannot push to '{REPO}': the hub answers {status} ")
    assert "\n" not in str(failed.value)
    assert hub.commits == []
    assert REPO not in hub.repos or files_on(hub) == {}
    hub.faults.clear()
    pushed(folder)
    assert files_on(hub) == files_in(folder)


def test_a_push_that_is_not_allowed_into_this_repository(hub, folder, tmp_path):
    """The token may write, but not there."""
    hub.faults.append(Fault("/commit/", 403, times=1))
    with pytest.raises(MissingError, match="may not write there"):
        pushed(folder)
    assert files_on(hub) == {}


def test_too_many_pushes_are_waited_for_as_long_as_the_hub_says(hub, folder):
    hub.faults.append(Fault("POST /api/repos/create", 429, headers={"Retry-After": "7"}))
    pushed(folder)
    assert 7.0 in hub.waits
