"""The activation cache and its reader.

A cache is an artifact folder:

    manifest.json      holds the cache's description: shapes, format, and the parts with their checksums
    examples.npz       token ids, alignment, labels: everything about the examples but the activations
    parts/00000.zarr   hidden states and attentions of a contiguous range of examples
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from microtome.store.artifacts.shared_catalogue import split_reference
from microtome.store.artifacts.store import Store, read_artifact
from microtome.store.cache.checked_parts import CheckedPart
from microtome.store.cache.description import CacheDescription
from microtome.store.cache.examples import Examples
from microtome.store.cache.layout import ATTENTION, HIDDEN, starts, unpack_attention
from microtome.store.cache.remote_parts import fetch_ahead, layer_range
from microtome.store.errors import MissingError
from microtome.store.remote.addresses import is_address
from microtome.store.remote.local_copies import LayerRange

OPEN_PARTS = 16  # file handles that a reader keeps


class ActivationCache:
    """Reads a cache in plain numpy. Layers count from 0: hidden 0..layers, attention 0..layers-1.

    Nothing is returned that was not written: files are looked up when the cache is opened, and a layer of a
    part is compared with its checksum when this process first reads of it, unless `verify` is false.
    """

    def __init__(self, path: str | Path, *, verify: bool = True) -> None:
        self.path = Path(path)
        artifact = read_artifact(self.path)
        self.manifest: dict[str, Any] = artifact.manifest
        self.description = CacheDescription.of(artifact)
        self.checkpoint = artifact.inputs.get("checkpoint", "")  # identity of the model it was made with
        self._contents = artifact.contents
        self._contents.check_sizes()
        self._verify = verify
        self.layout = self.description.layout
        self._parts = [part.examples for part in self.description.parts]
        self._open = functools.lru_cache(OPEN_PARTS)(self._open_part)
        self.example_data = Examples.load(self._contents)
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
    spans = property(
        lambda self: self.example_data.spans, doc="int32 [examples, 2, 2], words of two mentions."
    )

    def hidden(self, layer: int, example: int | None = None) -> np.ndarray:
        """Hidden states after `layer`: [tokens, dim] of all examples in order, or [T, dim] of one."""
        index = self._index(HIDDEN, layer)
        if example is not None:
            return self._read(HIDDEN, index, example)
        packed = np.empty((self.tokens, self.dim), self.dtype)
        if self._contents.remote is not None:
            fetch_ahead(self._contents, self._ranges(HIDDEN, index))
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

    def _shapes(self, number: int) -> dict[str, tuple[int, ...]]:
        part = self._parts[number]
        return {
            name: self.layout.shape(name, int(begin[part.stop] - begin[part.start]))
            for name, begin in self._starts.items()
        }

    def _ranges(self, name: str, index: int) -> list[LayerRange]:
        """Where a layer lies in the parts that are not compressed."""
        return [
            layer_range(part, name, index, self._shapes(number)[name], self.dtype)
            for number, part in enumerate(self.description.parts)
            if part.arrays[name].file is not None
        ]

    def _open_part(self, number: int) -> CheckedPart:
        return CheckedPart(
            self._contents,
            self.description.parts[number],
            self.description.format,
            self._shapes(number),
            self.dtype,
            verify=self._verify,
        )


def open_cache(path_or_id: str | Path, *, verify: bool = True) -> ActivationCache:
    """A cache by folder, by id or readable name in the default store, or by an address on object storage with
    its id, `s3://bucket/prefix/ID`: there a layer is fetched when it is first read.

    With `verify` false, what is read is not compared with its checksums.
    """
    if is_address(path_or_id):
        address, reference = split_reference(str(path_or_id))
        return ActivationCache(Store(address).open(reference).path, verify=verify)
    return ActivationCache(Store().open(path_or_id).path, verify=verify)
