"""Weights that are damaged or none: `model fetch` says so in one line and makes nothing."""

import json
import pickle
import struct

import pytest

from microtome.jobs.models.fetch import fetch
from microtome.store.errors import InputError, MissingError


def header(values, body=b""):
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor(start, stop, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


SAFE = {
    "nothing": b"",
    "a short length": b"\x01\x02",
    "garbage": bytes(range(256)),
    "an endless header": struct.pack("<Q", 2**62) + b"{}",
    "a header that is longer than the file": struct.pack("<Q", 999) + b"{}",
    "a header that is no JSON": header(b"{not json"),
    "a header of another type": header([1]),
    "a deep header": header(b"[" * 5000),
    "cut off": header({"w": tensor(0, 4)}, b"\0\0"),
    "more than is said": header({"w": tensor(0, 4)}, b"\0" * 9),
    "a shape that is too large": header({"w": tensor(0, 4, (1000,))}, b"\0" * 4),
    "places beyond the end": header({"w": tensor(0, 4000, (1000,))}, b"\0" * 4),
    "negative places": header({"w": tensor(-4, 0)}, b"\0" * 4),
    "places that overlap": header({"v": tensor(0, 4), "w": tensor(0, 4)}, b"\0" * 4),
    "an unknown dtype": header({"w": tensor(0, 4, dtype="F33")}, b"\0" * 4),
    "no tensors": header({}),
}


class Evil:
    def __reduce__(self):
        return print, ("run",)


PICKLED = {
    "nothing": b"",
    "garbage": bytes(range(256)),
    "text": b"a text",
    "a list": pickle.dumps([1]),
    "numbers by name": pickle.dumps({"w": 1}),
    "code": pickle.dumps(Evil()),
    "half an archive": b"PK\x03\x04" + b"\0" * 40,
    "deep": b"(" * 5000 + b"." * 5000,
}
INDICES = {
    "no JSON": b"{",
    "a list": b"[]",
    "no map": b"{}",
    "an empty map": b'{"weight_map": {}}',
    "a map of numbers": b'{"weight_map": {"w": 5}}',
    "a map out of the folder": b'{"weight_map": {"w": "../../secret.bin"}}',
    "a map to nothing": b'{"weight_map": {"w": "gone.bin"}}',
}


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    return tmp_path / "model"


def refused(model, name):
    before = sorted(model.parent.rglob("*"))
    with pytest.raises((InputError, MissingError)) as raised:
        fetch(str(model), str(model.parent / "new" / "er"))
    assert len(str(raised.value).splitlines()) == 1
    assert name in str(raised.value)
    assert sorted(model.parent.rglob("*")) == before


@pytest.mark.parametrize("kind", list(SAFE))
def test_damaged_safetensors(model, kind):
    (model / "model.safetensors").write_bytes(SAFE[kind])
    refused(model, "model.safetensors")


@pytest.mark.parametrize("kind", list(PICKLED))
def test_pickles_that_are_no_weights(model, kind, capsys):
    (model / "pytorch_model.bin").write_bytes(PICKLED[kind])
    refused(model, "pytorch_model.bin")
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", list(INDICES))
def test_an_index_that_is_none(model, kind):
    (model / "pytorch_model.bin.index.json").write_bytes(INDICES[kind])
    refused(model, "gone.bin" if kind == "a map to nothing" else "index.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"5", bytes(range(256))])
def test_a_config_that_is_none(model, content):
    (model / "model.safetensors").write_bytes(header({"w": tensor(0, 4)}, b"\0" * 4))
    (model / "config.json").write_bytes(content)
    refused(model, "config.json")


def test_a_folder_without_a_model(model):
    (model / "config.json").unlink()
    refused(model, "config.json")
    (model / "config.json").mkdir()
    refused(model, "config.json")


def test_safetensors_that_are_whole_are_copied(model):
    (model / "model.safetensors").write_bytes(header({"w": tensor(0, 4)}, b"\0" * 4))
    made = fetch(str(model), str(model.parent / "new" / "er"))
    assert sorted(path.name for path in made.iterdir()) == ["config.json", "model.safetensors"]
