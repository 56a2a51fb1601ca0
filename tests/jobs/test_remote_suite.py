"""A suite on object storage, by machines that have only the address in common, is the suite on a disk."""

import numpy as np
import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.remote.objects import Objects


def call(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.mark.thorough  # as make cluster-check, without Ray
def test_three_machines_make_what_one_disk_holds(small_suite, s3, tmp_path, monkeypatch):
    suite = str(small_suite)
    call("suite", "run", suite, "--local")
    local = {artifact.id: artifact for artifact in Store().list()}
    monkeypatch.setenv("MICROTOME_STORE", s3)
    for machine, only in (
        ("trains", ["--only", "finetune"]),
        ("extracts", ["--only", "extract"]),
        ("probes", []),
    ):
        monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / machine))
        call("suite", "run", suite, "--local", *only)
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "looks"))
    assert "nothing to do" in call("suite", "run", suite, "--local")
    remote = {artifact.id: artifact for artifact in Store().list()}
    assert remote.keys() == local.keys()
    for id, artifact in remote.items():
        if artifact.kind == "extract":
            there, here = ActivationCache(artifact.path), ActivationCache(local[id].path)
            for layer in there.layout.hidden_layers:
                np.testing.assert_array_equal(there.hidden(layer), here.hidden(layer))
            for layer in there.layout.attention_layers:
                np.testing.assert_array_equal(there.attention(layer, 1), here.attention(layer, 1))
    rows = [call("results", suite, "--format", "csv")]
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "store"))
    rows.append(call("results", suite, "--format", "csv"))
    assert rows[0] == rows[1]
    for path in [*tmp_path.rglob("*.log"), *tmp_path.rglob("*.json")]:
        assert "a-secret-that-nobody-may-see" not in path.read_text("utf-8"), path


def make(value):
    request = Request("probe", 1, {"value": value}, {}, f"thing{value}")
    with Store().begin(request) as staging:
        (staging.path / "data.txt").write_text(f"{value}" * 1000)
    return Store().find(request)


@pytest.fixture
def one_here_one_there(s3, tmp_path, monkeypatch):
    """(the artifact that is only here, the one that is only there, the address)"""
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "other"))
    there = make(2)
    call("store", "push", "--remote", s3)
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "store"))
    return make(1), there, s3


def test_status_says_what_is_where(one_here_one_there):
    here, there, address = one_here_one_there
    said = call("store", "status", "--remote", address)
    assert f"only here   {here.name}" in said
    assert f"only there  {there.name}" in said
    assert "1 only here, 1 only there, 0 in both" in said


def test_push_sends_and_pull_fetches_what_is_named(one_here_one_there):
    here, there, address = one_here_one_there
    assert f"sent {here.name}" in call("store", "push", here.id[:8], "--remote", address)
    assert "sent 0 artifacts" in call("store", "push", "--remote", address)
    assert f"fetched {there.name}" in call("store", "pull", there.name, "--remote", address)
    assert "fetched 0 artifacts" in call("store", "pull", "--remote", address)
    assert Store().open(there.id).manifest == there.manifest
    assert "2 artifacts are as they were written" in call("store", "verify")
    assert "0 only here, 0 only there, 2 in both" in call("store", "status", "--remote", address)


def test_sync_does_both(one_here_one_there, monkeypatch):
    _, _, address = one_here_one_there
    call("store", "sync", "--remote", address)
    assert "0 only here, 0 only there, 2 in both" in call("store", "status", "--remote", address)


def test_an_address_as_the_store_is_the_remote_too(one_here_one_there, monkeypatch):
    _, there, address = one_here_one_there
    monkeypatch.setenv("MICROTOME_STORE", address)
    assert "0 only here, 1 only there" in call("store", "status")
    assert there.id[:8] in call("cache", "ls")
    call("store", "pull", there.id[:8])
    assert "1 in both" in call("store", "status")
    call("cache", "rm", there.id[:8])
    assert "0 only here, 0 only there, 0 in both" in call("store", "status")
    assert Objects(address).list("files") == []


def test_what_cannot_be_done_is_one_line(one_here_one_there, s3, monkeypatch):
    assert "which object storage? Give --remote" in refused("store", "push")
    assert "no artifact 'nothing'" in refused("store", "push", "nothing", "--remote", s3)
    assert "no bucket at s3://nowhere/a" in refused("store", "status", "--remote", "s3://nowhere/a")
    assert "unknown kind of address 's4://'" in refused("store", "status", "--remote", "s4://a/b")
    assert "holds a bucket and a prefix only" in refused("store", "status", "--remote", "s3://k:secret@a/b")
    monkeypatch.setenv("MICROTOME_STORE", "s3://nowhere/a")
    assert "no bucket at s3://nowhere/a" in refused("cache", "ls")
