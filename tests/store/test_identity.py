from pathlib import Path

import numpy as np
import pytest

from microtome.store.identity import artifact_id, canonical_json, digest, files_digest


def test_order_of_keys_tuples_and_whole_floats_do_not_matter():
    one = {"b": (1, 2.0), "a": {"y": None, "x": True}}
    other = {"a": {"x": True, "y": None}, "b": [1, 2]}
    assert canonical_json(one) == canonical_json(other) == '{"a":{"x":true,"y":null},"b":[1,2]}'


def test_different_values_have_different_digests():
    values = [0, 1, "1", True, None, [], {}, [1], 1.5, "", {"a": 1}, {"a": None}]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"recipe": {"rate": np.float32(1)}}, "value.recipe.rate is a float32"),
        ({"path": [Path("x")]}, r"value.path\[0\] is a PosixPath"),
        ({"set": {1, 2}}, "value.set is a set"),
        ({1: "x"}, "int key 1"),
        (float("nan"), "value is nan"),
        ({"raw": b"x"}, "value.raw is a bytes"),
    ],
)
def test_what_has_no_canonical_form_is_named_with_its_type_and_place(value, named):
    with pytest.raises(TypeError, match=named):
        canonical_json(value)


def test_an_artifact_id_depends_on_kind_version_config_and_inputs():
    base = artifact_id("probe", 1, {"probe": "linear"}, {"train": "aa"})
    others = [
        artifact_id("attention", 1, {"probe": "linear"}, {"train": "aa"}),
        artifact_id("probe", 2, {"probe": "linear"}, {"train": "aa"}),
        artifact_id("probe", 1, {"probe": "mlp"}, {"train": "aa"}),
        artifact_id("probe", 1, {"probe": "linear"}, {"train": "ab"}),
    ]
    assert len({base, *others}) == 5
    assert len(base) == 64


def test_files_digest_is_of_names_and_contents_in_any_order():
    digests = {"b.bin": "2" * 64, "a.json": "1" * 64}
    assert files_digest(digests) == files_digest(dict(reversed(digests.items())))
    others = [
        digests | {"a.json": "3" * 64},
        {"b.bin": "1" * 64, "a.json": "2" * 64},
        {"c.bin": "2" * 64, "a.json": "1" * 64},
        {"a.json": "1" * 64},
    ]
    assert len({files_digest(digests), *map(files_digest, others)}) == 5
