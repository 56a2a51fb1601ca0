"""The activation cache and its reader.

A cache is an artifact folder:

    manifest.json      holds the cache's description: shapes, format, and the parts with their checksums
    examples.npz       token ids, alignment, labels: everything about the examples but the activations
    parts/00000.zarr   hidden states and attentions of a contiguous range of examples
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from microtome.store.artifacts.shared_catalogue import split_reference
from microtome.store.artifacts.store import Store, read_artifact
from microtome.store.cache.attention_rows import ABSENT, kept_queries
from microtome.store.cache.attention_topk import as_maps, unpacked
from microtome.store.cache.checked_parts import CheckedPart
from microtome.store.cache.conversions import (
    as_dataset,
    as_tensor,
    attention_variables,
    hidden_variables,
    label_variables,
    token_coordinates,
)
from microtome.store.cache.description import CacheDescription
from microtome.store.cache.examples import Examples
from microtome.store.cache.layout import (
    ATTENTION,
    HIDDEN,
    PATTERNS,
    PER_HEAD_SITES,
    SITES,
    starts,
    unpack_attention,
)
from microtome.store.cache.numbers import decoded, read_dtype
from microtome.store.cache.remote_parts import fetch_ahead, layer_range
from microtome.store.cache.token_rows import TokenRows, token_rows
from microtome.store.errors import InputError, MissingError, unknown
from microtome.store.remote.addresses import is_address
from microtome.store.remote.local_copies import LayerRange

if TYPE_CHECKING:
    from microtome.store.cache.conversions import Dataset, Tensor

DESCRIBING = ("task", "split", "unit", "model", "fraction", "seed", "id")  # attributes of a Dataset
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
        self._labels = artifact.labels
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
        self.token_rows: TokenRows = token_rows(self.example_data, self.layout.tokens, self.unit)
        lengths, rows = self.example_data.lengths, self.token_rows.counts
        self._starts = {name: starts(self.layout.extents(name, lengths, rows)) for name in self._arrays()}

    def __repr__(self) -> str:
        kept = " and ".join(f"{name} {_ranges(self.layout.kept(name))}" for name in self.layout.names())
        part = "" if self.layout.tokens == "all" else f" ({self.layout.tokens})"
        return (
            f"<ActivationCache {self.path.name}: {self.examples:,} examples, {self.tokens:,} tokens{part}, "
            f"{kept or 'no layers'}, {self.heads} heads, dim {self.dim}, {self.layout.dtype}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """Its identity, 64 hexadecimal digits; the first eight end the name of its folder."""
        return self.manifest["id"]

    @property
    def task(self) -> str:
        """The name of the task whose examples these are."""
        return self.description.task

    @property
    def split(self) -> str:
        """The split of the task: train, dev or test."""
        return self.description.split

    @property
    def unit(self) -> str:
        """What has a label: word, text, segment_pair or entity_pair."""
        return self.description.unit

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that `labels` counts; none if labels are numbers."""
        return self.description.classes

    @property
    def model(self) -> str | None:
        """What the model is called in tables; None if nobody said."""
        return self._labels.get("model")

    @property
    def fraction(self) -> float | None:
        """Per cent of the training data that the model was fine-tuned on, 0 before; None if nobody said."""
        return self._labels.get("fraction")

    @property
    def seed(self) -> int | None:
        """The seed of the fine-tuning; None before fine-tuning."""
        return self._labels.get("seed")

    @property
    def examples(self) -> int:
        """How many examples."""
        return len(self.example_data.rows)

    @property
    def tokens(self) -> int:
        """How many tokens, special ones included."""
        return int(self.offsets[-1])

    @property
    def layers(self) -> int:
        """Transformer blocks L; hidden states have L + 1 layers."""
        return self.layout.layers

    @property
    def heads(self) -> int:
        """Attention heads per layer."""
        return self.layout.heads

    @property
    def dim(self) -> int:
        """Width of a hidden state."""
        return self.layout.dim

    @property
    def causal(self) -> bool:
        """Whether a token sees only what is before it."""
        return self.layout.causal

    @property
    def dtype(self) -> np.dtype:
        """The dtype of what is read: float16 where that is the dtype on disk, else float32."""
        return read_dtype(self.layout.dtype)

    @property
    def offsets(self) -> np.ndarray:
        """Where the tokens of each example begin: int64 [examples + 1]."""
        return self.example_data.offsets

    @property
    def input_ids(self) -> np.ndarray:
        """What the tokenizer made of the text: int32 [tokens]."""
        return self.example_data.input_ids

    @property
    def word_ids(self) -> np.ndarray:
        """Which word of its example a token belongs to, -1 for special tokens: int32 [tokens]."""
        return self.example_data.word_ids

    @property
    def segment_ids(self) -> np.ndarray:
        """0 in the first text, 1 in the second: int8 [tokens]."""
        return self.example_data.segment_ids

    @property
    def special_mask(self) -> np.ndarray:
        """Which tokens the tokenizer added: bool [tokens]."""
        return self.example_data.special_mask

    @property
    def word_offsets(self) -> np.ndarray:
        """Where the words of each example begin, also those that were cut off: int64 [examples + 1]."""
        return self.example_data.word_offsets

    @property
    def labels(self) -> np.ndarray:
        """By unit: int [words] or [examples], int8 [examples, classes], or float [examples]."""
        return self.example_data.labels

    @property
    def spans(self) -> np.ndarray:
        """First word and word after the last of two mentions: int32 [examples, 2, 2]."""
        return self.example_data.spans

    @property
    def documents(self) -> np.ndarray:
        """Which document each example is from, a number that its examples share: int64 [examples]."""
        return self.example_data.documents

    def hidden(self, layer: int, example: int | None = None) -> np.ndarray:
        """Hidden states after `layer`: [rows, dim] of all examples in order, or of one. A row is a token,
        unless the cache was made with another setting of `tokens`: `token_rows` says what each is."""
        return self._packed(HIDDEN, layer, example)

    def site(self, name: str, layer: int, example: int | None = None) -> np.ndarray:
        """What block `layer`, 0..layers-1, has at a site, as `hidden` of the same rows.

        attention_output, mlp_output [rows, dim]: what each adds to the hidden state, before it is added.
        head_output, query, key, value [rows, heads, head_dim]: of grouped heads, keys and values are fewer;
        all as projected, before positions are rotated into them and before any normalisation.
        """
        if name not in SITES:
            raise unknown("site", name, SITES)
        values = self._packed(name, layer, example)
        site = self.layout.site(name)
        assert site is not None
        return values.reshape(len(values), site.heads, site.dim) if name in PER_HEAD_SITES else values

    def attention(self, layer: int, example: int) -> np.ndarray:
        """Attention probabilities [heads, T, T] of one example; rows are queries and sum to one.

        Of a cache that keeps the largest weights of each row (`layout.attention_topk`), what is left of a row
        is spread evenly over its other keys. MissingError if patterns are kept in place of maps.
        """
        self._refuse_without_maps()
        return self._maps(self._read(ATTENTION, self._index(ATTENTION, layer), example), example)

    def attention_topk(self, layer: int, example: int) -> tuple[np.ndarray, np.ndarray]:
        """The largest weights of each row, float16 [heads, T, k], and the positions of their keys, int64
        [heads, T, k]; their sum is the mass that is kept. MissingError if whole rows are kept."""
        self._refuse_without_maps()
        if self.layout.attention_topk is None:
            raise MissingError(f"{self.path.name} keeps whole rows of attention: read them with attention()")
        packed = self._read(ATTENTION, self._index(ATTENTION, layer), example)
        return unpacked(packed, self._length(example))

    def iter_attention(self, layer: int) -> Iterator[tuple[int, np.ndarray]]:
        """(example, [heads, T, T]) in order. One part's layer is in memory at a time."""
        self._refuse_without_maps()
        for example, packed in self._iter_packed(ATTENTION, layer):
            yield example, self._maps(packed, example)

    def attention_patterns(self, layer: int) -> dict[str, np.ndarray]:
        """What is kept of each map in its place, by name: float32 [examples, heads], NaN where a head or an
        example does not have the pattern. MissingError if maps are kept."""
        self._refuse_with_maps()
        packed = [values for _, values in self._iter_packed(PATTERNS, layer)]
        names = self.layout.attention_patterns or ()
        values_ehp = np.array(packed, np.float32).reshape(self.examples, self.heads, len(names))
        values_ehp = np.where(values_ehp == ABSENT, np.nan, values_ehp)
        return {name: values_ehp[..., number] for number, name in enumerate(names)}

    def iter_attention_rows(self, layer: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(example, rows [heads, n, T], positions of their queries, int64 [n]) in order, of a cache that
        keeps patterns and some rows of each map. MissingError if it keeps maps, or no rows."""
        self._refuse_with_maps()
        for example, packed in self._iter_packed(ATTENTION, layer):
            length = self._length(example)
            queries = kept_queries(example, length, self.layout.attention_rows or 0)
            yield example, packed.reshape(self.heads, len(queries), length), queries

    def to_torch(self, layer: int, example: int | None = None) -> "Tensor":
        """`hidden` as a tensor of the same dtype and dims; PackageError if torch is not installed."""
        return as_tensor(self.hidden(layer, example))

    def to_xarray(self, layers: Sequence[int] | None = None, example: int | None = None) -> "Dataset":
        """Hidden states of some layers, or else of all that are kept, as a Dataset; all is read into memory.

        hidden     (layer, token, feature)
        label      (word), (example) or (example, class), as the task has it; of all examples only
        attention  (attention_layer, head, query, key), of one example only; every row over key sums to one

        Coordinates of token are token_example, input_id, word_id, segment_id and special, of word
        word_example. MissingError if xarray is not installed, InputError if not every token was kept.
        """
        if self.layout.tokens != "all":
            raise InputError(
                f"{self.path.name} keeps {self.layout.tokens} of its tokens; to_xarray needs all"
            )
        hidden_layers = self.layout.hidden_layers if layers is None else tuple(layers)
        states = [self.hidden(layer, example) for layer in hidden_layers]
        values, coordinates = hidden_variables(states, hidden_layers)
        if example is None:
            more = label_variables(self.example_data, self.unit, self.classes)
        else:
            attention_layers = self.layout.map_layers
            maps = [self.attention(layer, example) for layer in attention_layers]
            more = attention_variables(maps, attention_layers)
        coordinates |= token_coordinates(self.example_data, example) | more[1]
        attributes = {name: getattr(self, name) for name in DESCRIBING}
        return as_dataset(values | more[0], coordinates, attributes)

    def close(self) -> None:
        """Close the open files; the next read opens them again."""
        self._open.cache_clear()

    def _arrays(self) -> list[str]:
        """The arrays that a reader may be asked for."""
        return list(dict.fromkeys([HIDDEN, ATTENTION, *self.layout.names()]))

    def _packed(self, name: str, layer: int, example: int | None) -> np.ndarray:
        """A layer of an array along rows: [rows, width] of all examples, or of one."""
        index, dtype = self._index(name, layer), self.layout.dtype
        if example is not None:
            return decoded(self._read(name, index, example), dtype)
        if self._contents.remote is not None:
            fetch_ahead(self._contents, self._ranges(name, index))
        begin = self._starts[name]
        shape = self.layout.shape(name, int(begin[-1]))[1:]
        stored = np.empty(shape, self.layout.stored_dtype(name))
        for number, part in enumerate(self._parts):
            first, last = begin[part.start], begin[part.stop]
            self._open(number).read(name, index, 0, int(last - first), out=stored[first:last])
        return decoded(stored, dtype)

    def _index(self, name: str, layer: int) -> int:
        kept = self.layout.kept(name)
        last = self.layout.last_layer(name)
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

    def _iter_packed(self, name: str, layer: int) -> Iterator[tuple[int, np.ndarray]]:
        """(example, what a layer of an array has of it, [heads, p]) in order."""
        index = self._index(name, layer)
        begin = self._starts[name]
        for number, part in enumerate(self._parts):
            first = int(begin[part.start])
            packed = self._open(number).read(name, index, 0, int(begin[part.stop]) - first)
            for example in part:
                yield example, packed[:, int(begin[example]) - first : int(begin[example + 1]) - first]

    def _refuse_without_maps(self) -> None:
        if self.layout.attention_patterns is not None:
            raise MissingError(
                f"{self.path.name} keeps patterns of attention and no maps: read them with "
                "attention_patterns(), and rows of maps with iter_attention_rows()"
            )

    def _refuse_with_maps(self) -> None:
        if self.layout.attention_patterns is None:
            raise MissingError(f"{self.path.name} keeps maps of attention: read them with attention()")

    def _maps(self, packed: np.ndarray, example: int) -> np.ndarray:
        length = self._length(example)
        if self.layout.attention_topk is None:
            return unpack_attention(packed, length, self.causal)
        return as_maps(*unpacked(packed, length), self.causal)

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
            layer_range(part, name, index, self._shapes(number)[name], self.layout.stored_dtype(name))
            for number, part in enumerate(self.description.parts)
            if part.arrays[name].file is not None
        ]

    def _open_part(self, number: int) -> CheckedPart:
        return CheckedPart(
            self._contents,
            self.description.parts[number],
            self.description.format,
            self._shapes(number),
            {name: self.layout.stored_dtype(name) for name in self._arrays()},
            verify=self._verify,
        )


def _ranges(layers: Sequence[int]) -> str:
    """Ascending layers as text: 0-4, or 0,2,4 where some are left out."""
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}-{layers[-1]}"
    return ",".join(map(str, layers))


def open_cache(path_or_id: str | Path, *, verify: bool = True) -> ActivationCache:
    """A cache by folder, by id or readable name in the default store, or by an address on object storage with
    its id, `s3://bucket/prefix/ID`: there a layer is fetched when it is first read.

    With `verify` false, what is read is not compared with its checksums.
    """
    if is_address(path_or_id):
        address, reference = split_reference(str(path_or_id))
        return ActivationCache(Store(address).open(reference).path, verify=verify)
    return ActivationCache(Store().open(path_or_id).path, verify=verify)
