"""Damage of every kind to every file of a cache: either the values that were written, or one StoreError."""

import contextlib
import json
import shutil

import numpy as np
import pytest

from microtome.store import open_cache
from microtome.store.artifacts.store import Artifact, Request, Store
from microtome.store.artifacts.verify import check, check_store
from microtome.store.cache.description import CacheDescription
from microtome.store.cache.examples import Examples
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import COMPRESSIONS
from microtome.store.cache.layout import Layout
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter
from microtome.store.errors import MicrotomeError, StoreError
from tests.store.cache.word_split import SPLIT

LENGTHS = np.array([5, 2, 9, 3])
LAYERS, HEADS, DIM = 2, 2, 8
FLIPS = 20  # per file
LAYOUT = Layout(
    layers=LAYERS,
    heads=HEADS,
    dim=DIM,
    causal=False,
    dtype="float16",
    hidden_layers=(0, 1, 2),
    attention_layers=(0, 1),
)


def write(root, form="zarr", compression="none", seed=0):
    """A cache of several parts with random values."""
    rng = np.random.default_rng(seed)
    tokens, examples = int(LENGTHS.sum()), len(LENGTHS)
    table = Examples(
        offsets=np.concatenate([[0], np.cumsum(LENGTHS)]),
        input_ids=rng.integers(0, 100, tokens, dtype=np.int32),
        word_ids=np.arange(tokens, dtype=np.int32),
        segment_ids=np.zeros(tokens, np.int8),
        special_mask=np.zeros(tokens, bool),
        word_offsets=np.arange(examples + 1),
        labels=rng.integers(0, 3, examples),
        spans=np.zeros((examples, 2, 2), np.int32),
        rows=np.arange(examples),
        documents=np.arange(examples),
    )
    request = Request("extract", 1, {"form": form, "compression": compression, "seed": seed}, {}, "cache")
    with Store(root).begin(request) as staging:
        options = {"part_format": form, "compression": compression, "part_bytes": 1500}
        with CacheWriter(staging.path, staging.scratch, LAYOUT, table, **options) as writer:
            for buffer in writer.claims():
                for values in buffer.arrays.values():
                    values[:] = rng.normal(size=values.shape)
                writer.submit(buffer)
            description, staging.files = writer.finish(SPLIT)
        description.write(staging.outputs)
    return Store(root).find(request)


def everything(folder, **options):
    """All that a reader can get out of a cache."""
    cache = open_cache(folder, **options)
    with contextlib.closing(cache):  # HDF5 would take what it knows of an open file for true of its successor
        return read_all(cache)


def read_all(cache):
    found = [cache.hidden(layer) for layer in LAYOUT.hidden_layers]
    found += [cache.hidden(1, example) for example in range(cache.examples)]
    for layer in LAYOUT.attention_layers:
        found += [maps for _, maps in cache.iter_attention(layer)]
        found.append(cache.attention(layer, 1))
    found += [cache.offsets, cache.input_ids, cache.word_ids, cache.segment_ids, cache.special_mask]
    found += [cache.word_offsets, cache.labels, cache.spans, cache.example_data.rows]
    return found


def equal(found, wanted):
    return len(found) == len(wanted) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(found, wanted, strict=True)
    )


def right_or_refused(folder, wanted):
    """Whether a cache is refused in one line; fails if it is read and something else comes out."""
    try:
        found = everything(folder)
    except StoreError as error:
        if "\n" in str(error):
            raise
        return True
    assert equal(found, wanted)
    return False


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


every_cache = pytest.mark.parametrize(
    ("form", "compression"),
    [
        pytest.param(form, compression, marks=pytest.mark.thorough if compression == "lz4" else ())
        for form in PART_FORMATS
        for compression in COMPRESSIONS
    ],
)


@every_cache
def test_flipped_bytes(tmp_path, form, compression):
    artifact = write(tmp_path, form, compression)
    wanted = everything(artifact.path)
    rng = np.random.default_rng(1)
    refused = total = 0
    for path in files_of(artifact.path):
        raw = path.read_bytes()
        for place in rng.choice(len(raw), min(FLIPS, len(raw)), replace=False):
            damaged = bytearray(raw)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            refused += right_or_refused(artifact.path, wanted)
            total += 1
        path.write_bytes(raw)
    assert refused > total / 4  # most bytes are values, alignment or the manifest
    assert equal(everything(artifact.path), wanted)


@every_cache
def test_deleted_truncated_extended_and_swapped_files_are_refused(tmp_path, form, compression):
    artifact = write(tmp_path, form, compression)
    wanted = everything(artifact.path)
    paths = [path for path in files_of(artifact.path) if path.name != "manifest.json"]
    for path in paths:
        raw = path.read_bytes()
        path.unlink()
        assert right_or_refused(artifact.path, wanted)
        for other in (b"", raw[:-1], raw[: len(raw) // 2], raw + b"\0"):
            path.write_bytes(other)
            assert right_or_refused(artifact.path, wanted)
            assert not artifact.whole
        path.write_bytes(bytes(len(raw)))
        right_or_refused(artifact.path, wanted)
        for twin in paths:
            path.write_bytes(twin.read_bytes() if twin != path else raw)
            right_or_refused(artifact.path, wanted)
        path.write_bytes(raw)
    assert equal(everything(artifact.path), wanted)


@every_cache
def test_files_of_another_cache_of_the_same_shape(tmp_path, form, compression):
    artifact, other = write(tmp_path, form, compression), write(tmp_path, form, compression, seed=1)
    wanted = everything(artifact.path)
    refused = 0
    for path in files_of(artifact.path):
        raw = path.read_bytes()
        shutil.copyfile(other.path / path.relative_to(artifact.path), path)
        if path.name != "manifest.json":
            refused += right_or_refused(artifact.path, wanted)
        else:
            with pytest.raises(MicrotomeError):
                everything(artifact.path)
        path.write_bytes(raw)
    parts = len(CacheDescription.of(artifact).parts)
    assert refused >= parts + 1  # a file or more of each part, and examples.npz


def changes(value, path=()):
    """Every field of a manifest, with another value of the same type or none."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from changes(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from changes(inner, (*path, number))
    yield path, None
    if isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int | float):
        yield path, value + 1
        yield path, value // 2 if value > 1 else value - 1
    elif isinstance(value, str):
        yield path, value[:-1] + "x"


def test_every_field_of_the_manifest_changed(tmp_path):
    artifact = write(tmp_path)
    wanted = everything(artifact.path)
    manifest = artifact.path / "manifest.json"
    whole = manifest.read_text()
    cases = [case for case in changes(json.loads(whole)) if case[0]]
    assert len(cases) > 200
    for path, value in cases:
        values = json.loads(whole)
        place = values
        for step in path[:-1]:
            place = place[step]
        if place[path[-1]] == value:
            continue
        place[path[-1]] = value
        manifest.write_text(json.dumps(values))
        assert right_or_refused(artifact.path, wanted), path
        del place[path[-1]]
        manifest.write_text(json.dumps(values))
        assert right_or_refused(artifact.path, wanted), path
    manifest.write_text(json.dumps(json.loads(whole), indent=4))
    assert not right_or_refused(artifact.path, wanted)  # spaces are no damage


def test_a_layer_is_checked_when_it_is_first_read_and_no_other(tmp_path):
    artifact = write(tmp_path)
    wanted = everything(artifact.path)
    first = CacheDescription.of(artifact).parts[0]
    described = first.arrays["hidden"]
    damaged = artifact.path / first.file / described.file
    raw = bytearray(damaged.read_bytes())
    raw[described.offset] ^= 1  # layer 0, first value
    damaged.write_bytes(raw)
    cache = open_cache(artifact.path)
    assert np.array_equal(cache.hidden(1), wanted[1])
    for read in (lambda: cache.hidden(0), lambda: cache.hidden(0, 0), lambda: cache.hidden(0, 1)):
        with pytest.raises(
            StoreError, match=rf"parts/00000.zarr differs .*microtome cache rm {artifact.id[:8]}"
        ):
            read()
    unchecked = open_cache(artifact.path, verify=False).hidden(0)
    assert np.count_nonzero(unchecked != wanted[0]) == 1


@every_cache
def test_an_example_that_is_the_first_to_be_read_of_its_layer(tmp_path, form, compression):
    artifact = write(tmp_path, form, compression)
    ends = np.cumsum(LENGTHS)
    for example in range(len(LENGTHS)):
        for layer in LAYOUT.hidden_layers:
            first = open_cache(write(tmp_path / f"{example}-{layer}", form, compression).path)
            begin = ends[example] - LENGTHS[example]
            whole = open_cache(artifact.path).hidden(layer)
            np.testing.assert_array_equal(first.hidden(layer, example), whole[begin : ends[example]])
            assert first.hidden(layer, example).shape == (LENGTHS[example], DIM)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_the_right_bytes_under_another_dtype_are_refused(tmp_path, compression):
    artifact = write(tmp_path, "zarr", compression)
    for path in artifact.path.rglob("hidden/zarr.json"):
        said = path.read_text()
        assert '"float16"' in said
        path.write_text(
            said.replace('"float16"', '"uint16" ').replace('"fill_value": 0.0', '"fill_value": 0  ')
        )
        assert path.stat().st_size == len(said)
    for example in (None, 1):
        with pytest.raises(StoreError, match="differs from its checksum in hidden"):
            open_cache(artifact.path).hidden(0, example)


@pytest.mark.parametrize("form", PART_FORMATS)
def test_a_recorded_part_that_lost_a_file_is_missing(tmp_path, form):
    artifact = write(tmp_path, form)
    table = open_cache(artifact.path).example_data
    (tmp_path / "part").mkdir()
    with CacheWriter(
        tmp_path / "part", tmp_path / "part", LAYOUT, table, part_format=form, part_bytes=1500
    ) as one:
        for buffer in one.claims():
            for values in buffer.arrays.values():
                values[:] = 1
            one.submit(buffer)
        one.finish(SPLIT)
        assert one.missing() == []
        for file in files_of(tmp_path / "part" / "parts"):
            number = int(file.relative_to(tmp_path / "part" / "parts").parts[0].split(".")[0])
            raw = file.read_bytes()
            file.write_bytes(raw[:-1])
            assert one.missing() == [number]
            file.write_bytes(raw)
        (tmp_path / "part" / "00001.json").write_text("")
        assert one.missing() == [1]


def test_a_layer_is_checked_once_per_process(tmp_path, monkeypatch):
    from microtome.store.cache import checked_parts

    artifact = write(tmp_path)
    counted = []
    real = checked_parts.checksum_of
    monkeypatch.setattr(checked_parts, "checksum_of", lambda values: counted.append(1) or real(values))
    parts = len(CacheDescription.of(artifact).parts)
    for _ in range(2):
        ActivationCache(artifact.path).hidden(1)
    assert len(counted) == parts
    ActivationCache(artifact.path).hidden(2, 0)
    ActivationCache(artifact.path).hidden(2)
    assert len(counted) == 2 * parts
    ActivationCache(artifact.path, verify=False).hidden(0)
    assert len(counted) == 2 * parts


def test_what_a_job_wrote_is_not_read_back(tmp_path, monkeypatch):
    from microtome.store.artifacts import store as artifacts

    recorded = []
    real = artifacts.record_files
    monkeypatch.setattr(
        artifacts, "record_files", lambda folder, path: recorded.append(path.name) or real(folder, path)
    )
    artifact = write(tmp_path)
    assert recorded == []
    assert set(artifact.manifest["files"]) == {
        path.relative_to(artifact.path).as_posix() for path in files_of(artifact.path)
    } - {"manifest.json"}
    assert list(check(artifact)) == []


def test_a_part_that_changed_before_the_end_is_no_artifact(tmp_path):
    with (
        pytest.raises(StoreError, match="a.bin is not as it was written"),
        Store(tmp_path).begin(Request("extract", 1, {}, {}, "x")) as staging,
    ):
        (staging.path / "a.bin").write_bytes(b"1234")
        staging.files = {"a.bin": {"bytes": 5, "checksum": "0"}}
    assert Store(tmp_path).list() == []


def make(root, value=1):
    request = Request("probe", 1, {"value": value}, {}, f"thing{value}")
    with Store(root).begin(request) as staging:
        (staging.path / "rows.jsonl").write_text('{"metric": "f1", "value": 1.0}\n')
        (staging.path / "deep").mkdir()
        (staging.path / "deep" / "weights.bin").write_bytes(bytes(range(200)))
    return request, Store(root).find(request)


DAMAGES = {
    "is missing": lambda path: path.unlink(),
    "has 199 bytes, not 200": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "differs from its checksum": lambda path: path.write_bytes(bytes(200)),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_a_damaged_file_of_any_artifact_is_found_and_never_read(tmp_path, reason):
    _, artifact = make(tmp_path)
    weights = artifact.contents.path("deep") / "weights.bin"
    DAMAGES[reason](weights)
    fresh = Store(tmp_path).open(artifact.id)
    for read in (
        lambda: fresh.contents.path("deep"),
        lambda: fresh.contents.path("deep/weights.bin"),
        lambda: fresh.contents.read("deep/weights.bin"),
    ):
        with pytest.raises(StoreError, match=f"^{artifact.name}: deep/weights.bin {reason}. Remove it"):
            read()
    [finding] = check(fresh)
    assert (finding.where, finding.what) == (f"{artifact.name}/deep/weights.bin", reason)
    assert f"microtome cache rm {artifact.id[:8]}" in finding.remedy


def test_a_file_that_changes_after_it_was_checked_is_checked_again(tmp_path):
    _, artifact = make(tmp_path)
    weights = artifact.contents.path("deep") / "weights.bin"
    other = tmp_path / "other"
    other.write_bytes(bytes(200))
    other.replace(weights)
    with pytest.raises(StoreError, match="differs"):
        artifact.contents.path("deep")


def test_what_is_asked_for_must_be_of_the_artifact(tmp_path):
    _, artifact = make(tmp_path)
    (artifact.path / "extra.txt").write_text("x")
    for name in ("extra.txt", "../secret", "dee"):
        assert not artifact.contents.has(name)
        with pytest.raises(StoreError, match="is no part of this artifact"):
            artifact.contents.path(name)
        with pytest.raises(StoreError, match="is no part of this artifact"):
            artifact.contents.read(name)


@pytest.mark.parametrize("reason", ["is missing", "has 199 bytes, not 200"])
def test_an_artifact_that_lost_something_is_not_done_and_makes_way(tmp_path, reason):
    store = Store(tmp_path)
    request, artifact = make(tmp_path)
    store.make_way(request)
    assert store.done(request).path == artifact.path
    DAMAGES[reason](artifact.path / "deep" / "weights.bin")
    assert store.done(request) is None
    assert store.find(request) is not None
    store.make_way(request)
    assert store.find(request) is None
    assert make(tmp_path)[1].whole
    assert not (tmp_path / ".staging").exists()


def test_an_artifact_that_was_made_anew_meanwhile_does_not_make_way(tmp_path, monkeypatch):
    request, artifact = make(tmp_path)
    answers = [False]
    real = Artifact.whole.fget
    monkeypatch.setattr(Artifact, "whole", property(lambda self: answers.pop() if answers else real(self)))
    Store(tmp_path).make_way(request)  # saw it damaged, and then it was not
    assert answers == []
    assert Store(tmp_path).done(request).path == artifact.path


def test_the_whole_store_is_checked(tmp_path):
    store = Store(tmp_path)
    good, bad, cut, half = (make(tmp_path, value)[1] for value in range(4))
    store.remember({"model:bert": "aa"})
    assert check_store(store, ["probe"])[1] == []
    (bad.path / "stray.txt").write_text("x")
    (bad.path / ".scratch").mkdir()
    (bad.path / ".scratch" / "00000.json").write_text("{}")
    (cut.path / "manifest.json").write_text("{")
    (half.path / "manifest.json").unlink()
    (tmp_path / "sources.json").write_text("[1")
    artifacts, findings = check_store(store, ["probe", "extract"])
    assert {artifact.id for artifact in artifacts} == {good.id, bad.id}
    said = [str(finding) for finding in findings]
    assert said[0].startswith("sources.json is damaged")
    assert said[1].startswith(f"{bad.name}/.scratch/00000.json is no file of this artifact. ")
    assert said[1].endswith("microtome cache gc")
    assert said[2].startswith(f"{bad.name}/stray.txt is no file of this artifact. Move it")
    assert said[3].startswith(f"{cut.name} is damaged")
    assert said[4].startswith(f"{half.name} has no manifest")
    assert len(said) == 5
