"""What a cache says of itself comes back as it was written, and is never half understood."""

import json

import pytest

from microtome.store.artifacts.artifact import Artifact
from microtome.store.cache.description import (
    CacheDescription,
    CachedSplit,
    StoredArray,
    StoredPart,
    is_cache,
    part_from_json,
    part_to_json,
)
from microtome.store.cache.layout import Layout
from microtome.store.errors import InputError, StoreError

PLAIN = StoredArray(checksums=("a", "b"), file="hidden/c/0/0/0", offset=4096)
PACKED = StoredArray(checksums=("c",))
PART = StoredPart(file="parts/0", start=0, stop=3, bytes=99, arrays={"hidden": PLAIN, "attention": PACKED})
LAYOUT = Layout(
    layers=2, heads=2, dim=8, causal=False, dtype="float16", hidden_layers=(0, 2), attention_layers=(1,)
)
SPLIT = CachedSplit(
    task="pairs",
    split="dev",
    unit="segment_pair",
    classes=("no", "yes"),
    credentialed=True,
    segments="separate",
    max_length=48,
    truncated_words=7,
)
STORED = {"layout": LAYOUT, "format": "zarr", "compression": "none", "examples": 3, "tokens": 20}
DESCRIPTION = CacheDescription.of_split(SPLIT, **STORED, parts=(PART,))


def written(**changes):
    """An artifact as it is read back from JSON, with some keys of its description changed or taken out."""
    outputs = {}
    DESCRIPTION.write(outputs)
    values = {k: v for k, v in (outputs["cache"] | changes).items() if v is not ...}
    manifest = json.loads(json.dumps({"kind": "extract", "outputs": {"cache": values}}))
    return Artifact("extract/pairs", manifest)


@pytest.fixture(autouse=True)
def named(monkeypatch):
    monkeypatch.setattr(Artifact, "name", "extract/pairs")


def test_a_description_comes_back_whole():
    assert CacheDescription.of(written()) == DESCRIPTION
    assert DESCRIPTION.parts[0].examples == range(3)
    assert is_cache(written())


def test_a_part_comes_back_from_the_record_of_an_unfinished_cache():
    assert part_from_json(json.loads(json.dumps(part_to_json(PART)))) == PART
    with pytest.raises(ValueError, match="start"):
        part_from_json({"file": "parts/0", "stop": 1, "bytes": 2, "arrays": {}})


def test_what_a_later_version_adds_is_passed_over():
    assert CacheDescription.of(written(colour="blue")) == DESCRIPTION


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": ...}, "unit: field required"),
        ({"tokens": "many"}, "tokens: "),
        ({"segments": "apart"}, "segments: "),
        ({"parts": [{"file": "x"}]}, "parts.0.start: field required"),
        ({"layout": {**LAYOUT.__dict__, "dtype": "int4"}}, "dtype 'int4'"),
        ({"layout": {**LAYOUT.__dict__, "hidden_layers": [9]}}, "hidden layer 9 does not exist"),
    ],
)
def test_what_does_not_describe_a_cache_is_one_line_that_says_where_and_what_next(changes, said):
    with pytest.raises(StoreError, match="extract/pairs: .*extract again") as refused:
        CacheDescription.of(written(**changes))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_artifact_describes_no_cache():
    probed = Artifact("probe/pairs", {"kind": "probe", "outputs": {}})
    assert not is_cache(probed)
    with pytest.raises(InputError, match="no activation cache but a probe"):
        CacheDescription.of(probed)
