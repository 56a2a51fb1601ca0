"""Array names, dims, dtypes, chunks, and the packing of ragged sequences.

Dims: l layer, r row, d dim, h head, p query-key pair, s sequence length. No padding is ever stored:

    hidden     [l, r, d]   r runs over the tokens of all examples of a part, in order, or over what is kept of
                           them (token_rows.py)
    attention  [l, h, p]   p runs over the s*s pairs of each example, or over the s*(s+1)/2 visible
                           pairs of a causal model, row by row; or over the largest weights of each row and
                           the positions of their keys (attention_topk.py); or over the keys of some rows of
                           each map (attention_rows.py)
    attention_patterns  [l, h, p]   p runs over the patterns of each example's map (attention_rows.py)
    a site     [l, r, d]   as `hidden`, under the name of the site; d is its heads side by side
"""

from dataclasses import dataclass

import numpy as np

from microtome.store.cache.numbers import STORED, non_finite_mask, stored_width
from microtome.store.errors import DtypeOverflowError, InputError, MicrotomeError

HIDDEN = "hidden"
ATTENTION = "attention"
PATTERNS = "attention_patterns"
OF_ATTENTION = (ATTENTION, PATTERNS)  # the other arrays have rows that are tokens, or means of some
# Places in a block besides what it hands on, in the order of the pass. Queries, keys and values are as they
# are projected: before positions are rotated into them, and before they are normalised.
PER_HEAD_SITES = ("query", "key", "value", "head_output")
SITES = (*PER_HEAD_SITES, "attention_output", "mlp_output")
# The axis that examples are laid along.
RAGGED_AXIS = {HIDDEN: 1, **dict.fromkeys(OF_ATTENTION, 2), **dict.fromkeys(SITES, 1)}
PART_BYTES = 256 << 20
CHECK_BLOCK = 1 << 17  # values


@dataclass(frozen=True, kw_only=True)
class SiteLayout:
    """One of SITES: which blocks it is kept of, and its shape, [heads, head_dim] or [1, dim] per token."""

    name: str
    layers: tuple[int, ...]
    heads: int
    dim: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The shape of one model's activations, and which of them are kept.

    `hidden_layers` are among 0..layers (0 is the embedding output), `attention_layers` among
    0..layers-1 (attention l reads hidden l and makes hidden l+1), as are those of `sites`. Empty means not
    kept. `dtype` is that of hidden states and sites; attentions, which are never large, are float16 unless it
    is float32. With `attention_topk` so many weights are kept of each row of them; with `attention_patterns`
    these numbers are kept of each map in its place, and `attention_rows` of its rows. `tokens` says what is
    kept of the tokens: one of TOKENS in token_rows.py.
    """

    layers: int
    heads: int
    dim: int
    causal: bool
    dtype: str
    hidden_layers: tuple[int, ...]
    attention_layers: tuple[int, ...]
    tokens: str = "all"
    attention_topk: int | None = None
    attention_patterns: tuple[str, ...] | None = None
    attention_rows: int | None = None
    sites: tuple[SiteLayout, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in STORED:
            raise InputError(f"dtype '{self.dtype}' is not one of {', '.join(STORED)}")
        for name in (HIDDEN, *OF_ATTENTION, *(site.name for site in self.sites)):
            last = self.last_layer(name)
            outside = [layer for layer in self.kept(name) if not 0 <= layer <= last]
            if outside:
                raise InputError(f"{name} layer {outside[0]} does not exist: this model has 0..{last}")
        if not self.names():
            raise InputError("nothing to keep: ask for hidden states, attentions or both")

    def site(self, name: str) -> SiteLayout | None:
        """The shape of a site, if it is kept."""
        return next((site for site in self.sites if site.name == name), None)

    @property
    def map_layers(self) -> tuple[int, ...]:
        """The layers whose attention maps can be read, whole or from the largest weights of each row."""
        return self.attention_layers if self.attention_patterns is None else ()

    def last_layer(self, name: str) -> int:
        """The last layer that the model has of array `name`."""
        return self.layers if name == HIDDEN else self.layers - 1

    def kept(self, name: str) -> tuple[int, ...]:
        """The layers stored in array `name`."""
        if name == HIDDEN:
            return self.hidden_layers
        if name == PATTERNS:
            return () if self.attention_patterns is None else self.attention_layers
        if name == ATTENTION:
            return () if self.attention_rows == 0 else self.attention_layers
        site = self.site(name)
        return site.layers if site else ()

    def names(self) -> list[str]:
        """The arrays that a part has."""
        return [name for name in RAGGED_AXIS if self.kept(name)]

    def dtype_of(self, name: str) -> str:
        """The dtype of array `name`, one of STORED."""
        if name == PATTERNS:
            return "float32"
        narrow = self.dtype != "float32" or self.attention_topk is not None
        return "float16" if name == ATTENTION and narrow else self.dtype

    def stored_dtype(self, name: str) -> np.dtype:
        """The dtype of array `name` as numpy, zarr and h5py have it."""
        if name == ATTENTION and self.attention_topk is not None:
            return np.dtype(np.uint16)
        return STORED[self.dtype_of(name)]

    def extents(self, name: str, lengths: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Size of each example along the ragged axis of array `name`, int64 [examples]. `lengths` are its
        tokens, `rows` what is kept of them, if that is less."""
        if name == ATTENTION and self.attention_topk is not None:
            return lengths.astype(np.int64) * 2 * self.attention_topk
        if name == ATTENTION and self.attention_rows is not None:
            return np.minimum(lengths, self.attention_rows).astype(np.int64) * lengths
        if name == ATTENTION:
            return pairs(lengths, self.causal)
        if name == PATTERNS:
            return np.full(len(lengths), len(self.attention_patterns or ()), np.int64)
        return (lengths if rows is None else rows).astype(np.int64)

    def shape(self, name: str, extent: int) -> tuple[int, int, int]:
        """The shape of array `name` in a part with `extent` rows or pairs, as it is stored."""
        if name in OF_ATTENTION:
            return len(self.kept(name)), self.heads, extent
        site = self.site(name)
        width = site.heads * site.dim if site else self.dim
        return len(self.kept(name)), extent, stored_width(self.dtype, width)

    def bytes_per_example(self, lengths: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """What each example takes on disk uncompressed, int64 [examples]."""
        total = np.zeros(len(lengths), np.int64)
        for name in self.names():
            of_one = int(np.prod(self.shape(name, 1))) * self.stored_dtype(name).itemsize
            total += of_one * self.extents(name, lengths, rows)
        return total


def pairs(length: np.ndarray, causal: bool) -> np.ndarray:
    """How many query-key pairs a sequence of `length` tokens stores."""
    length = np.asarray(length, dtype=np.int64)
    return length * (length + 1) // 2 if causal else length * length


def pack_attention(square: np.ndarray, causal: bool) -> np.ndarray:
    """[..., s, s] -> [..., pairs]: all of it, or the lower triangle row by row."""
    size = square.shape[-1]
    if not causal:
        return square.reshape(*square.shape[:-2], size * size)
    return square[(..., *np.tril_indices(size))]


def unpack_attention(packed: np.ndarray, length: int, causal: bool) -> np.ndarray:
    """[..., pairs] -> [..., s, s]; what a causal model cannot see is zero."""
    if not causal:
        return packed.reshape(*packed.shape[:-1], length, length)
    square = np.zeros((*packed.shape[:-1], length, length), packed.dtype)
    square[(..., *np.tril_indices(length))] = packed
    return square


def plan_parts(sizes: np.ndarray, budget: int) -> list[range]:
    """Cut examples into contiguous ranges of at most `budget` bytes each (one example at the least)."""
    parts: list[range] = []
    start, used = 0, 0
    for example, size in enumerate(sizes.tolist()):
        if example > start and used + size > budget:
            parts.append(range(start, example))
            start, used = example, 0
        used += size
    if len(sizes) > start:
        parts.append(range(start, len(sizes)))
    return parts


def starts(extents: np.ndarray) -> np.ndarray:
    """Where each example begins, and the end: int64 [examples + 1]."""
    return np.concatenate([[0], np.cumsum(extents, dtype=np.int64)])


def refuse_non_finite(values: np.ndarray, name: str, layout: Layout, begin: np.ndarray, first: int) -> None:
    """Raise DtypeOverflowError naming layer and example if a value of a part is inf or NaN.

    `values` is [l, r, d] or [l, h, p] as stored; `begin` where each example starts along the ragged axis, and
    `first` the number of the first one.
    """
    dtype = layout.dtype_of(name)
    for index, layer in enumerate(layout.kept(name)):
        bits, mask = non_finite_mask(values[index], dtype)
        if _any_equal_masked(bits.reshape(-1), mask):
            bad = ((bits & mask) == mask).any(axis=2 - RAGGED_AXIS[name])
            example = int(np.searchsorted(begin, np.nonzero(bad)[0][0], side="right")) - 1 + first
            where = f"{name} of layer {layer}, example {example}"
            if dtype == "float16" and not np.isnan(values[index].view(np.float16)).any():
                raise DtypeOverflowError(f"{where}, does not fit float16")
            raise MicrotomeError(
                f"{where}, is not a finite number as it was computed: the weights are of no use, or float16 "
                "is too narrow to compute in"
            )


def _any_equal_masked(bits: np.ndarray, mask: int) -> bool:
    """Whether (bits & mask) == mask anywhere: an exponent of all ones is inf or NaN. By blocks that stay in
    a processor's cache."""
    masked = np.empty(min(CHECK_BLOCK, len(bits)), bits.dtype)
    for start in range(0, len(bits), CHECK_BLOCK):
        block = bits[start : start + CHECK_BLOCK]
        if np.bitwise_and(block, mask, out=masked[: len(block)]).max() == mask:
            return True
    return False
