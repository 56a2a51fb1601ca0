"""Array names, dims, dtypes, chunks, and the packing of ragged sequences.

Dims: l layer, t token, d dim, h head, p query-key pair, s sequence length. No padding is ever stored:

    hidden     [l, t, d]   t runs over the tokens of all examples of a part, in order
    attention  [l, h, p]   p runs over the s*s pairs of each example, or over the s*(s+1)/2 visible
                           pairs of a causal model, row by row
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from microtome.store.errors import DtypeOverflowError, InputError, MicrotomeError

HIDDEN = "hidden"
ATTENTION = "attention"
RAGGED_AXIS = {HIDDEN: 1, ATTENTION: 2}  # the axis that examples are laid along
DTYPES = ("float16", "float32")
PART_BYTES = 256 << 20
CHECK_BLOCK = 1 << 17  # values


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The shape of one model's activations, and which of them are kept.

    `hidden_layers` are among 0..layers (0 is the embedding output), `attention_layers` among
    0..layers-1 (attention l reads hidden l and makes hidden l+1). Empty means not kept.
    """

    layers: int
    heads: int
    dim: int
    causal: bool
    dtype: str
    hidden_layers: tuple[int, ...]
    attention_layers: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"dtype '{self.dtype}' is not one of {', '.join(DTYPES)}")
        for name, requested, last in (
            (HIDDEN, self.hidden_layers, self.layers),
            (ATTENTION, self.attention_layers, self.layers - 1),
        ):
            outside = [layer for layer in requested if not 0 <= layer <= last]
            if outside:
                raise InputError(f"{name} layer {outside[0]} does not exist: this model has 0..{last}")
        if not self.hidden_layers and not self.attention_layers:
            raise InputError("nothing to keep: ask for hidden states, attentions or both")

    def kept(self, name: str) -> tuple[int, ...]:
        """The layers stored in array `name`."""
        return self.hidden_layers if name == HIDDEN else self.attention_layers

    def names(self) -> list[str]:
        """The arrays that a part has."""
        return [name for name in (HIDDEN, ATTENTION) if self.kept(name)]

    def extents(self, name: str, lengths: np.ndarray) -> np.ndarray:
        """Size of each example along the ragged axis of array `name`, int64 [examples]."""
        return lengths.astype(np.int64) if name == HIDDEN else pairs(lengths, self.causal)

    def shape(self, name: str, extent: int) -> tuple[int, int, int]:
        """The shape of array `name` in a part with `extent` tokens or pairs."""
        if name == HIDDEN:
            return len(self.hidden_layers), extent, self.dim
        return len(self.attention_layers), self.heads, extent

    def bytes_per_example(self, lengths: np.ndarray) -> np.ndarray:
        """What each example takes on disk uncompressed, int64 [examples]."""
        hidden = len(self.hidden_layers) * self.dim * self.extents(HIDDEN, lengths)
        attention = len(self.attention_layers) * self.heads * self.extents(ATTENTION, lengths)
        return (hidden + attention) * np.dtype(self.dtype).itemsize


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


def refuse_non_finite(
    values: np.ndarray, name: str, layers: Sequence[int], begin: np.ndarray, first: int
) -> None:
    """Raise DtypeOverflowError naming layer and example if a value of a part is inf or NaN.

    `values` is [l, t, d] or [l, h, p]; `begin` where each example starts along the ragged axis, and
    `first` the number of the first one.
    """
    exponent, mask = {2: (np.uint16, 0x7C00), 4: (np.uint32, 0x7F800000)}[values.dtype.itemsize]
    for index, layer in enumerate(layers):
        bits = values[index].view(exponent)
        if _any_equal_masked(bits.reshape(-1), mask):
            bad = ((bits & mask) == mask).any(axis=2 - RAGGED_AXIS[name])
            example = int(np.searchsorted(begin, np.nonzero(bad)[0][0], side="right")) - 1 + first
            where = f"{name} of layer {layer}, example {example}"
            if values.dtype == np.float16 and not np.isnan(values[index]).any():
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
