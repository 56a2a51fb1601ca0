"""A node that cannot run a driver's jobs says why, in one line."""

import dataclasses

import pytest

from microtome.jobs.run.node_check import Expected, node_fault, reply_to
from microtome.store.artifacts.store import Store
from microtome.store.artifacts.visibility import has_note, remove_notes, write_note


@pytest.fixture(params=["folder", "object storage"])
def store(request, tmp_path):
    return Store(tmp_path / "store") if request.param == "folder" else Store(request.getfixturevalue("s3"))


@pytest.fixture
def expected(store):
    write_note(store, "token")
    node_fault.cache_clear()
    return Expected.by_driver(store, "token")


def test_a_node_that_is_as_the_driver_leaves_a_note_for_it(store, expected):
    assert node_fault(expected, "node-7", "7") == ""
    assert has_note(store, reply_to("token", "7"))
    remove_notes(store, ["token", reply_to("token", "7")])
    assert not has_note(store, "token")


def test_a_store_that_is_another_is_named_with_what_to_set(store, expected):
    remove_notes(store, ["token"])
    fault = node_fault(expected, "node-7", "7")
    assert fault.startswith("node-7 does not see ")
    assert fault.endswith("Set MICROTOME_STORE to a folder that every node sees, or to object storage")


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("version", "99.0", "the driver 99.0; install 99.0 there"),
        ("code", "0" * 64, "not 00000000); install the same commit there"),
    ],
)
def test_another_microtome_is_named(expected, field, value, fault):
    assert fault in node_fault(dataclasses.replace(expected, **{field: value}), "node-7", "7")


def test_a_store_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "store").mkdir()
    write_note(Store(tmp_path / "store"), "token")
    expected = Expected.by_driver(Store(tmp_path / "store"), "token")
    (tmp_path / "store" / ".notes" / reply_to("token", "7")).mkdir()
    assert node_fault(expected, "node-7", "7").startswith("node-7: cannot write ")
