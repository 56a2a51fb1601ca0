"""A store of many artifacts: what is opened is what was asked for. Counted in files, not in time."""

import builtins
import io
import os
from collections import Counter

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.store.artifacts.store import Request, Store

COUNT = 300


def request(value):
    return Request(("extract", "probe")[value % 2], 1, {"value": value}, {"train": "aa"}, f"thing{value}")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("full"))
    for value in range(COUNT):
        with store.begin(request(value)):
            pass
    return store.root


@pytest.fixture
def work(full, monkeypatch):
    """Counts manifests that are opened and folders that are listed."""
    counts = Counter()

    def counted(name, real, wanted):
        def call(path, *args, **more):
            if wanted in str(path):
                counts[name] += 1
            return real(path, *args, **more)

        return call

    monkeypatch.setenv("MICROTOME_STORE", str(full))
    opened = counted("manifests", io.open, "manifest.json")
    monkeypatch.setattr(io, "open", opened)
    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(os, "scandir", counted("listings", os.scandir, str(full)))
    return counts


@pytest.mark.parametrize("way", ["id", "short", "name", "whole", "path"])
def test_one_artifact_is_one_manifest(full, work, way):
    wanted = request(7)
    reference = {
        "id": wanted.id,
        "short": wanted.id[:8],
        "name": wanted.folder,
        "whole": f"{wanted.kind}/{wanted.folder}",
        "path": full / wanted.kind / wanted.folder,
    }[way]
    assert Store().open(reference).id == wanted.id
    assert work["manifests"] == 1
    assert work["listings"] <= 3


def test_an_id_that_is_not_there_opens_nothing(work):
    assert CliRunner().invoke(main, ["cache", "show", "0" * 64]).exit_code == 2
    assert Store().find(request(COUNT)) is None
    assert work["manifests"] == 0


def test_a_plan_lists_each_kind_once_and_opens_what_it_asks_for(work):
    wanted = [request(value) for value in range(0, COUNT * 2, 10)]
    found = Store().find_all(wanted)
    assert set(found) == {r.id for r in wanted[: COUNT // 10]}
    assert work["listings"] == 1
    assert work["manifests"] == COUNT // 10


def test_what_is_found_under_another_name_is_found_together(full):
    wanted = request(3)
    other = Request(wanted.kind, 1, wanted.config, wanted.inputs, "another")
    assert Store(full).find_all([other])[wanted.id].path.name == wanted.folder


def test_removing_one_opens_no_other(full, work):
    result = CliRunner().invoke(main, ["cache", "rm", request(9).id[:8]])
    assert result.exit_code == 0, result.output
    assert work["manifests"] <= 1
    with Store().begin(request(9)):
        pass


def test_ls_opens_each_manifest_once(work):
    result = CliRunner().invoke(main, ["cache", "ls"])
    assert work["manifests"] == COUNT
    assert len(result.stdout.splitlines()) == COUNT + 1


def test_a_long_listing_shows_the_same_cells_as_a_short_one(full, monkeypatch):
    from microtome.jobs.cli import tables

    monkeypatch.setenv("MICROTOME_STORE", str(full))
    short = CliRunner().invoke(main, ["cache", "ls"]).stdout
    monkeypatch.setattr(tables, "MANY_ROWS", 10)
    long = CliRunner().invoke(main, ["cache", "ls"]).stdout
    assert [line.split() for line in long.splitlines()] == [line.split() for line in short.splitlines()]


def test_sizes_are_read_from_manifests_that_say_them(tmp_path):
    store = Store(tmp_path)
    with store.begin(request(1)) as staging:
        (staging.path / "data.txt").write_text("x" * 1000)
    made = store.find(request(1))
    walked = made.bytes()
    assert walked == 1000 + (made.path / "manifest.json").stat().st_size
    made.manifest["files"] = {"data.txt": {"bytes": 1000, "checksum": ""}}
    (made.path / "data.txt").unlink()
    assert made.bytes() == walked
