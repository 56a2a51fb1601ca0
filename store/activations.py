"""The activation cache: one reader and one writer over parts, whatever their format.

A cache is an artifact folder:

    manifest.json      outputs.cache says shapes, formats and the parts with their checksums
    examples.npz       token ids, alignment, labels: everything about the examples but the activations
    parts/00000.zarr   hidden states and attentions of a contiguous range of examples
"""

import functools
import json
import mmap
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import xxhash

from store.artifacts import Artifact, Store, write_json
from store.errors import InputError, MissingError, StoreError
from store.hdf5_parts import Hdf5Parts
from store.layout import (
    ATTENTION,
    HIDDEN,
    PART_BYTES,
    Layout,
    plan_parts,
    refuse_non_finite,
    starts,
    unpack_attention,
)
from store.parts import Part, PartFormat
from store.zarr_parts import ZarrParts

PART_FORMATS: dict[str, PartFormat] = {"zarr": ZarrParts(), "hdf5": Hdf5Parts()}
OPEN_PARTS = 16  # file handles that a reader keeps


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a cache says of its examples. t runs over tokens, w over words, e over examples.

    offsets       int64 [e + 1]   where each example's tokens start
    input_ids     int32 [t]
    word_ids      int32 [t]       word of the example that a token belongs to, -1 for special tokens
    segment_ids   int8  [t]       0 first text, 1 second text
    special_mask  bool  [t]       tokens the tokenizer added
    word_offsets  int64 [e + 1]   where each example's words start (all words, also truncated ones)
    labels        int or float    [w], [e] or [e, classes], as the task has it
    rows          int64 [e]       which row of the split each example is
    """

    offsets: np.ndarray
    input_ids: np.ndarray
    word_ids: np.ndarray
    segment_ids: np.ndarray
    special_mask: np.ndarray
    word_offsets: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per example, int64 [e]."""
        return np.diff(self.offsets)


class ActivationCache:
    """Reads a cache in plain numpy. Layers count from 0: hidden 0..layers, attention 0..layers-1."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        artifact = Store(self.path.parent.parent).open(self.path)
        self.manifest: dict[str, Any] = artifact.manifest
        described = artifact.manifest["outputs"].get("cache")
        if described is None:
            raise InputError(f"{self.path} is no activation cache but a {artifact.kind} artifact")
        self.layout = Layout.from_json(described["layout"])
        self._format = PART_FORMATS[described["format"]]
        self._parts = [range(p["start"], p["stop"]) for p in described["parts"]]
        self._files = [self.path / p["file"] for p in described["parts"]]
        self._open = functools.lru_cache(OPEN_PARTS)(self._open_part)
        self.example_data = _load_examples(self.path / "examples.npz")
        self._part_of = np.repeat(np.arange(len(self._parts)), [len(p) for p in self._parts])
        self._starts = {
            name: starts(self.layout.extents(name, self.example_data.lengths)) for name in (HIDDEN, ATTENTION)
        }

    examples = property(lambda self: len(self.example_data.rows), doc="How many examples.")
    tokens = property(lambda self: int(self.offsets[-1]), doc="How many tokens, special ones included.")
    layers = property(lambda self: self.layout.layers, doc="Transformer blocks L; hidden has L + 1 layers.")
    heads = property(lambda self: self.layout.heads, doc="Attention heads per layer.")
    dim = property(lambda self: self.layout.dim, doc="Width of a hidden state.")
    causal = property(lambda self: self.layout.causal, doc="Whether a token sees only what is before it.")
    dtype = property(lambda self: np.dtype(self.layout.dtype), doc="The dtype on disk and of what is read.")
    offsets = property(lambda self: self.example_data.offsets, doc="int64 [examples + 1], token offsets.")
    input_ids = property(lambda self: self.example_data.input_ids, doc="int32 [tokens].")
    word_ids = property(lambda self: self.example_data.word_ids, doc="int32 [tokens], -1 for special tokens.")
    segment_ids = property(lambda self: self.example_data.segment_ids, doc="int8 [tokens], 0 or 1.")
    special_mask = property(lambda self: self.example_data.special_mask, doc="bool [tokens].")
    word_offsets = property(lambda self: self.example_data.word_offsets, doc="int64 [examples + 1].")
    labels = property(lambda self: self.example_data.labels, doc="Per word, example or example x class.")

    def hidden(self, layer: int, example: int | None = None) -> np.ndarray:
        """Hidden states after `layer`: [tokens, dim] of all examples in order, or [T, dim] of one."""
        index = self._index(HIDDEN, layer)
        if example is not None:
            return self._read(HIDDEN, index, example)
        packed = np.empty((self.tokens, self.dim), self.dtype)
        for number, part in enumerate(self._parts):
            first, last = self.offsets[part.start], self.offsets[part.stop]
            self._open(number).read(HIDDEN, index, 0, int(last - first), out=packed[first:last])
        return packed

    def attention(self, layer: int, example: int) -> np.ndarray:
        """Attention probabilities [heads, T, T] of one example; rows are queries and sum to one."""
        packed = self._read(ATTENTION, self._index(ATTENTION, layer), example)
        return unpack_attention(packed, self._length(example), self.causal)

    def iter_attention(self, layer: int) -> Iterator[tuple[int, np.ndarray]]:
        """(example, [heads, T, T]) in order. One part's layer is in memory at a time."""
        index = self._index(ATTENTION, layer)
        begin = self._starts[ATTENTION]
        for number, part in enumerate(self._parts):
            first = int(begin[part.start])
            packed = self._open(number).read(ATTENTION, index, 0, int(begin[part.stop]) - first)
            for example in part:
                window = slice(int(begin[example]) - first, int(begin[example + 1]) - first)
                yield example, unpack_attention(packed[:, window], self._length(example), self.causal)

    def close(self) -> None:
        """Let go of open files; the next read opens them again."""
        self._open.cache_clear()

    def _index(self, name: str, layer: int) -> int:
        kept = self.layout.kept(name)
        last = self.layers if name == HIDDEN else self.layers - 1
        if not 0 <= layer <= last:
            raise IndexError(f"{name} layer {layer} is out of range: this model has 0..{last}")
        if layer not in kept:
            what = f"layers {', '.join(map(str, kept))}" if kept else "none"
            raise MissingError(f"{name} of layer {layer} was not kept in {self.path} (kept: {what})")
        return kept.index(layer)

    def _read(self, name: str, index: int, example: int) -> np.ndarray:
        if not 0 <= example < self.examples:
            raise IndexError(f"example {example} is out of range: the cache has {self.examples}")
        number = int(self._part_of[example])
        begin = self._starts[name]
        first = int(begin[self._parts[number].start])
        window = int(begin[example]) - first, int(begin[example + 1]) - first
        return self._open(number).read(name, index, *window)

    def _length(self, example: int) -> int:
        return int(self.offsets[example + 1] - self.offsets[example])

    def _open_part(self, number: int) -> Part:
        return self._format.open(self._files[number])


def open_cache(path_or_id: str | Path) -> ActivationCache:
    """A cache by folder, or by id or readable name in the default store."""
    path = Path(path_or_id)
    return ActivationCache(path if path.is_dir() else Store().open(path_or_id).path)


@dataclass
class PartBuffer:
    """A part being filled: exact-size arrays, one slot per example along the ragged axis."""

    number: int
    examples: range
    arrays: dict[str, np.ndarray]
    begin: dict[str, np.ndarray]

    def window(self, name: str, example: int) -> slice:
        """Where an example lies along the ragged axis."""
        position = example - self.examples.start
        return slice(int(self.begin[name][position]), int(self.begin[name][position + 1]))

    def slot(self, name: str, example: int) -> np.ndarray:
        """The writable view of one example: hidden [l, T, dim], attention [l, heads, pairs]."""
        window = self.window(name, example)
        return self.arrays[name][:, window] if name == HIDDEN else self.arrays[name][:, :, window]


class CacheWriter:
    """Writes a cache part by part into a folder; a part that stands there already is not redone.

    `submit` writes in a background thread while the next part is computed; leaving the `with` block waits
    for it. What is needed to go on after a crash lies in `scratch`.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        layout: Layout,
        examples: Examples,
        *,
        part_format: str = "zarr",
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.folder = folder
        self.scratch = scratch
        self.layout = layout
        self.examples = examples
        self.format_name = part_format
        self.format = PART_FORMATS[part_format]
        self.parts = plan_parts(layout.bytes_per_example(examples.lengths), part_bytes)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self._under_way: Future[None] | None = None
        (folder / "parts").mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(wait=True)

    def missing(self) -> list[int]:
        """The numbers of the parts that are not on disk yet."""
        return [number for number in range(len(self.parts)) if not self._record(number).exists()]

    def buffer(self, number: int) -> PartBuffer:
        """Empty arrays of the exact size of part `number`."""
        part = self.parts[number]
        lengths = self.examples.lengths[part.start : part.stop]
        begin = {name: starts(self.layout.extents(name, lengths)) for name in self.layout.names()}
        arrays = {
            name: np.empty(self.layout.shape(name, int(begin[name][-1])), self.layout.dtype) for name in begin
        }
        return PartBuffer(number, part, arrays, begin)

    def submit(self, buffer: PartBuffer) -> None:
        """Write a filled part in the background, once the one before is written; raises what that raised."""
        self._wait()
        self._under_way = self._thread.submit(self.write, buffer)

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def write(self, buffer: PartBuffer) -> None:
        """Put a filled part on disk, whole: refuses inf and NaN, records its checksum last."""
        for name, values in buffer.arrays.items():
            begin, first = buffer.begin[name][:-1], buffer.examples.start
            refuse_non_finite(values, name, self.layout.kept(name), begin, first)
        path = self._path(buffer.number)
        aside = path.with_name("." + path.name)
        for leftover in (aside, path):
            _delete(leftover)
        try:
            self.format.write(aside, buffer.arrays)
        except BaseException:
            _delete(aside)
            raise
        aside.rename(path)
        record = {
            "file": str(path.relative_to(self.folder)),
            "start": buffer.examples.start,
            "stop": buffer.examples.stop,
            "checksum": checksum(path),
            "bytes": _size(path),
        }
        write_json(self._record(buffer.number), record)

    def finish(self) -> dict[str, Any]:
        """Write `examples.npz` and gather the records; returns the manifest's `cache` section."""
        self._wait()
        if self.missing():
            raise StoreError(f"parts {self.missing()} of {self.folder} are not written")
        arrays = {f.name: getattr(self.examples, f.name) for f in fields(Examples)}
        np.savez(self.folder / "examples.npz", **arrays)
        records = [json.loads(self._record(n).read_text("utf-8")) for n in range(len(self.parts))]
        return {
            "format": self.format_name,
            "layout": asdict(self.layout),
            "examples": len(self.examples.rows),
            "tokens": int(self.examples.offsets[-1]),
            "parts": records,
            "examples_checksum": checksum(self.folder / "examples.npz"),
        }

    def _path(self, number: int) -> Path:
        return self.folder / "parts" / f"{number:05d}{self.format.suffix}"

    def _record(self, number: int) -> Path:
        return self.scratch / f"{number:05d}.json"


def checksum(path: Path) -> str:
    """XXH3 (128 bit) of a file, or of the names and contents of all files below a folder."""
    if path.is_file():
        if path.stat().st_size == 0:
            return xxhash.xxh3_128_hexdigest(b"")
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as content:
            return xxhash.xxh3_128_hexdigest(content)
    total = xxhash.xxh3_128()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{checksum(file)}\n".encode())
    return total.hexdigest()


def damaged_parts(artifact: Artifact) -> list[tuple[str, str]]:
    """(file, reason) for everything in a cache that is not as it was written."""
    described = artifact.manifest["outputs"]["cache"]
    expected = {part["file"]: part["checksum"] for part in described["parts"]}
    expected["examples.npz"] = described["examples_checksum"]
    bad = []
    for file, wanted in expected.items():
        path = artifact.path / file
        if not path.exists():
            bad.append((file, "missing"))
        elif checksum(path) != wanted:
            bad.append((file, "differs from its checksum"))
    return bad


def _load_examples(path: Path) -> Examples:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            loaded: Mapping[str, np.ndarray] = {f.name: arrays[f.name] for f in fields(Examples)}
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"cannot read {path}: {error}. See: microtome cache verify") from None
    return Examples(**loaded)


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in [path, *path.rglob("*")] if p.is_file())


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
