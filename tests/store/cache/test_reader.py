"""One contract for every part format; a class per format inherits it."""

import sys
import tracemalloc

import h5py
import numpy as np
import pytest
import zarr

from microtome.store import open_cache
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.description import CacheDescription
from microtome.store.cache.examples import Examples
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats import part as parts
from microtome.store.cache.formats.part import COMPRESSIONS
from microtome.store.cache.layout import Layout, pack_attention
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter
from microtome.store.errors import DtypeOverflowError, InputError, MissingError, StoreError
from microtome.store.files.checksums import checksum
from microtome.store.files.operations import aligned_memory, folder_bytes
from tests.store.cache.word_split import SPLIT

LENGTHS = np.array([5, 1, 9, 3, 7, 4])
LAYERS, HEADS, DIM = 3, 2, 8


def examples():
    tokens = int(LENGTHS.sum())
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    return Examples(
        offsets=offsets,
        input_ids=np.arange(tokens, dtype=np.int32),
        word_ids=np.zeros(tokens, np.int32),
        segment_ids=np.zeros(tokens, np.int8),
        special_mask=np.zeros(tokens, bool),
        word_offsets=np.arange(len(LENGTHS) + 1),
        labels=np.arange(len(LENGTHS), dtype=np.int16),
        spans=np.zeros((len(LENGTHS), 2, 2), np.int32),
        rows=np.arange(len(LENGTHS)),
        documents=np.arange(len(LENGTHS)),
    )


def values(causal, seed=0):
    """Per example: hidden [l, T, d] and attention [l, h, T, T] as a model would give them."""
    rng = np.random.default_rng(seed)
    found = []
    for length in LENGTHS:
        attention = rng.random((LAYERS, HEADS, length, length))
        if causal:
            attention = np.tril(attention)
        attention /= attention.sum(-1, keepdims=True)
        found.append((rng.normal(size=(LAYERS + 1, length, DIM)), attention))
    return found


class CacheContract:
    """What every part format must do."""

    format: str

    def write(
        self, root, *, causal=False, dtype="float32", part_bytes=600, spoil=None, compression="none", **kept
    ):
        kept = {"hidden_layers": tuple(range(LAYERS + 1)), "attention_layers": tuple(range(LAYERS))} | kept
        layout = Layout(layers=LAYERS, heads=HEADS, dim=DIM, causal=causal, dtype=dtype, **kept)
        request = Request(
            "extract",
            1,
            {"causal": causal, "dtype": dtype, "bytes": part_bytes, "compression": compression},
            {},
            "cache",
        )
        store = Store(root)
        with store.begin(request, resumable=True) as staging:
            with CacheWriter(
                staging.path,
                staging.scratch,
                layout,
                examples(),
                part_format=self.format,
                part_bytes=part_bytes,
                compression=compression,
            ) as writer:
                for buffer in writer.claims():
                    writer.submit(self.filled(buffer, layout, spoil))
                description, staging.files = writer.finish(SPLIT)
            description.write(staging.outputs)
        return store.find(request)

    def filled(self, buffer, layout, spoil=None):
        for example in buffer.examples:
            hidden, attention = values(layout.causal)[example]
            if spoil == example:
                hidden[1, 0, 3] = 1e6
            if layout.hidden_layers:
                buffer.slot("hidden", example)[:] = hidden[list(layout.hidden_layers)]
            if layout.attention_layers:
                packed = pack_attention(attention[list(layout.attention_layers)], layout.causal)
                buffer.slot("attention", example)[:] = packed
        return buffer

    @pytest.mark.parametrize("causal", [False, True])
    @pytest.mark.parametrize("part_bytes", [1, 6000, 1 << 20])
    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_everything_written_comes_back(self, tmp_path, monkeypatch, causal, part_bytes, compression):
        monkeypatch.setattr(parts, "CHUNK_BYTES", 256)  # several chunks per layer
        artifact = self.write(tmp_path, causal=causal, part_bytes=part_bytes, compression=compression)
        cache = open_cache(artifact.path)
        wanted = values(causal)
        assert (cache.examples, cache.tokens, cache.layers, cache.heads, cache.dim, cache.causal) == (
            len(LENGTHS),
            LENGTHS.sum(),
            LAYERS,
            HEADS,
            DIM,
            causal,
        )
        for layer in range(LAYERS + 1):
            packed = np.concatenate([hidden[layer] for hidden, _ in wanted]).astype(np.float32)
            np.testing.assert_array_equal(cache.hidden(layer), packed)
            for example, (hidden, _) in enumerate(wanted):
                np.testing.assert_array_equal(cache.hidden(layer, example), hidden[layer].astype(np.float32))
        for layer in range(LAYERS):
            streamed = list(cache.iter_attention(layer))
            assert [example for example, _ in streamed] == list(range(len(LENGTHS)))
            for example, (_, attention) in enumerate(wanted):
                expected = attention[layer].astype(np.float32)
                np.testing.assert_array_equal(cache.attention(layer, example), expected)
                np.testing.assert_array_equal(streamed[example][1], expected)

    def test_what_is_said_of_the_examples_comes_back(self, tmp_path):
        cache = open_cache(self.write(tmp_path).path)
        for name in ("offsets", "input_ids", "word_ids", "segment_ids", "special_mask", "labels"):
            np.testing.assert_array_equal(getattr(cache, name), getattr(examples(), name))
        assert cache.offsets.dtype == np.int64

    def test_half_precision_is_rounded_and_rows_still_sum_to_one(self, tmp_path):
        cache = open_cache(self.write(tmp_path, dtype="float16").path)
        hidden, _ = values(False)[2]
        assert cache.hidden(1).dtype == np.float16
        np.testing.assert_array_equal(cache.hidden(1, 2), hidden[1].astype(np.float16))
        sums = cache.attention(0, 2).astype(np.float64).sum(-1)
        np.testing.assert_allclose(sums, 1, atol=1e-3)

    @pytest.mark.parametrize("part_bytes", [1, 1 << 20])
    def test_a_value_that_does_not_fit_names_layer_and_example(self, tmp_path, part_bytes):
        with (
            pytest.warns(RuntimeWarning, match="overflow"),
            pytest.raises(DtypeOverflowError, match="hidden of layer 1, example 4, does not fit float16"),
        ):
            self.write(tmp_path, dtype="float16", part_bytes=part_bytes, spoil=4)
        assert Store(tmp_path).list() == []
        cache = open_cache(self.write(tmp_path, dtype="float32", part_bytes=part_bytes, spoil=4).path)
        assert cache.hidden(1, 4)[0, 3] == 1e6

    def test_some_layers_only(self, tmp_path):
        cache = open_cache(self.write(tmp_path, hidden_layers=(0, 3), attention_layers=()).path)
        hidden, _ = values(False)[3]
        np.testing.assert_array_equal(cache.hidden(3, 3), hidden[3].astype(np.float32))
        with pytest.raises(MissingError, match=r"hidden of layer 2 was not kept .*layers 0, 3"):
            cache.hidden(2)
        with pytest.raises(MissingError, match=r"attention of layer 0 was not kept .*none"):
            cache.attention(0, 0)

    def test_what_is_out_of_range_is_an_index_error(self, tmp_path):
        cache = open_cache(self.write(tmp_path).path)
        for call in (
            lambda: cache.hidden(LAYERS + 1),
            lambda: cache.hidden(-1),
            lambda: cache.attention(LAYERS, 0),
            lambda: cache.hidden(0, len(LENGTHS)),
            lambda: cache.attention(0, -1),
        ):
            with pytest.raises(IndexError, match="out of range"):
                call()

    @pytest.mark.parametrize("tokens", [11, 3001])  # 3001: past the page cache where the disk allows it
    def test_a_part_is_a_file_that_the_formats_own_library_reads(self, tmp_path, tokens):
        path = tmp_path / f"part{PART_FORMATS[self.format].suffix}"
        rng = np.random.default_rng(3)
        arrays = {}
        for name, shape in {"hidden": (4, tokens, 80), "attention": (3, 2, 77 * tokens)}.items():
            values = aligned_memory(int(np.prod(shape)) * 2).view(np.float16).reshape(shape)
            values[:] = rng.normal(size=shape)
            arrays[name] = values
        places = PART_FORMATS[self.format].write(path, arrays, "none")
        for name, place in places.items():
            assert checksum(place.file, [(place.offset, arrays[name])]) == checksum(place.file)
            raw = np.fromfile(place.file, np.float16, arrays[name].size, offset=place.offset)
            np.testing.assert_array_equal(raw, arrays[name].reshape(-1))
        assert set(places) == set(arrays)
        for name, (found, chunks) in self.read_with_the_library(path).items():
            np.testing.assert_array_equal(found, arrays[name])
            assert chunks in ((1, *arrays[name].shape[1:]), None)

    def test_bytes_on_disk_are_those_of_the_elements(self, tmp_path):
        artifact = self.write(tmp_path, part_bytes=1 << 20)
        layout = ActivationCache(artifact.path).layout
        elements = int(layout.bytes_per_example(LENGTHS).sum())
        written = sum(part.bytes for part in CacheDescription.of(artifact).parts)
        assert elements <= written <= elements + 6000  # headers of a tiny file

    def test_attention_is_streamed_in_a_tenth_of_the_memory_of_the_cache(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sys.modules[__name__], "LENGTHS", np.full(120, 60))
        artifact = self.write(tmp_path, part_bytes=1 << 20)
        cache = ActivationCache(artifact.path)
        on_disk = folder_bytes(artifact.path / "parts")
        assert len(CacheDescription.of(artifact).parts) > 10
        tracemalloc.start()
        streamed = sum(maps.nbytes for _, maps in cache.iter_attention(1))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert streamed == 120 * HEADS * 60 * 60 * 4
        assert peak < on_disk / 10

    def test_one_part_has_few_files_however_many_layers(self, tmp_path):
        artifact = self.write(tmp_path, part_bytes=1 << 20)
        assert sum(path.is_file() for path in (artifact.path / "parts").rglob("*")) <= 5

    @pytest.mark.parametrize("compression", ["lz4", "zstd"])
    def test_compression_takes_fewer_bytes_and_few_files(self, tmp_path, compression):
        path = tmp_path / f"part{PART_FORMATS[self.format].suffix}"
        smooth = np.linspace(0, 1, 3 * 2 * 50_000, dtype=np.float32).reshape(3, 2, 50_000)
        PART_FORMATS[self.format].write(path, {"attention": smooth}, compression)
        assert folder_bytes(path) < 0.8 * smooth.nbytes
        assert sum(file.is_file() for file in [path, *path.rglob("*")]) <= 5
        found, chunks = self.read_with_the_library(path)["attention"]
        np.testing.assert_array_equal(found, smooth)
        assert chunks == (1, 2, parts.CHUNK_BYTES // 8 if parts.CHUNK_BYTES < 50_000 * 8 else 50_000)

    def test_compressed_bytes_that_cannot_be_unpacked_are_a_store_error(self, tmp_path):
        artifact = self.write(tmp_path, part_bytes=1 << 20, compression="zstd")
        files = [file for file in (artifact.path / "parts").rglob("*") if file.is_file()]
        largest = max(files, key=self.size)
        raw = bytearray(largest.read_bytes())
        raw[200:] = bytes(len(raw) - 200)
        largest.write_bytes(raw)
        cache = open_cache(artifact.path, verify=False)
        with pytest.raises(StoreError, match="microtome store verify"):
            for layer in range(LAYERS):
                cache.hidden(layer)
                list(cache.iter_attention(layer))

    def test_an_interrupted_write_goes_on_and_ends_the_same(self, tmp_path):
        whole = ActivationCache(self.write(tmp_path / "whole", part_bytes=900).path)
        layout = whole.layout
        folder = tmp_path / "half"
        folder.mkdir()

        def writer():
            return CacheWriter(folder, folder, layout, examples(), part_format=self.format, part_bytes=900)

        with writer() as first:
            claims = first.claims()
            first.submit(self.filled(next(claims), layout))
            first.wait()
        half_written = folder / "parts" / f".00001{PART_FORMATS[self.format].suffix}"
        half_written.write_text("cut short")
        with writer() as second:
            assert second.missing() == list(range(1, len(second.parts)))
            with pytest.raises(StoreError, match="not written"):
                second.finish(SPLIT)
            for buffer in second.claims():
                second.submit(self.filled(buffer, layout))
            records = second.finish(SPLIT)[0].parts
        assert records == whole.description.parts
        assert not list((folder / "parts").glob(".*"))

    def test_two_writers_share_the_parts(self, tmp_path):
        layout = ActivationCache(self.write(tmp_path / "whole", part_bytes=900).path).layout
        folder = tmp_path / "shared"
        folder.mkdir()
        options = {"part_format": self.format, "part_bytes": 900}
        done = {0: [], 1: []}
        with (
            CacheWriter(folder, folder, layout, examples(), **options) as one,
            CacheWriter(folder, folder, layout, examples(), **options) as other,
        ):
            writers = one, other
            claims = [writer.claims() for writer in writers]
            for turn in range(len(one.parts)):
                buffer = next(claims[turn % 2])
                done[turn % 2].append(buffer.number)
                writers[turn % 2].submit(self.filled(buffer, layout))
            assert [next(left, None) for left in claims] == [None, None]
            other.wait()
            records = one.finish(SPLIT)[0].parts
        assert sorted(done[0] + done[1]) == list(range(len(records)))
        assert min(map(len, done.values())) > 0

    @staticmethod
    def size(path):
        return path.stat().st_size


class TestZarr(CacheContract):
    format = "zarr"

    def read_with_the_library(self, path):
        group = zarr.open_group(path, mode="r")
        return {name: (array[...], array.chunks) for name, array in group.arrays()}


class TestHdf5(CacheContract):
    format = "hdf5"

    def read_with_the_library(self, path):
        with h5py.File(path) as file:
            return {name: (dataset[...], dataset.chunks) for name, dataset in file.items()}


def test_every_format_is_under_contract():
    assert {case.format for case in CacheContract.__subclasses__()} == set(PART_FORMATS)


def test_another_artifact_is_no_cache(tmp_path):
    store = Store(tmp_path)
    request = Request("probe", 1, {}, {}, "p")
    with store.begin(request):
        pass
    with pytest.raises(InputError, match="no activation cache but a probe"):
        open_cache(store.find(request).path)


def test_a_cache_is_opened_by_id_in_the_default_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path))
    artifact = TestZarr().write(tmp_path)
    assert open_cache(artifact.id).path == artifact.path
    assert open_cache(artifact.path.name).tokens == LENGTHS.sum()
