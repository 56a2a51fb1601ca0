"""What one cache takes from a forward pass, and where it goes in the part that is filled."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from microtome.analysis.attention.patterns import TokenFacts
from microtome.jobs.data.encoding import Encoding
from microtome.jobs.models.activation_copy import DevicePart, HostPart, Piece
from microtome.jobs.models.rounding import RoundingErrors
from microtome.jobs.models.row_selection import RowSelection, select_rows
from microtome.jobs.models.strongest import KeptMass
from microtome.store.cache.layout import ATTENTION, OF_ATTENTION, PATTERNS, Layout, starts
from microtome.store.cache.token_rows import TokenRows
from microtome.store.cache.writer import PartBuffer


class CacheFill:
    """`rows` are what the cache keeps of the tokens, if not all; `facts`, which patterns of attention need,
    are of its examples. `errors` has how far rounding to int8 has moved the values so far, `mass` how much of
    the attentions was kept."""

    def __init__(
        self, layout: Layout, rows: TokenRows | None = None, facts: TokenFacts | None = None
    ) -> None:
        self.layout = layout
        self.rows = rows
        self.facts = facts
        self.errors = RoundingErrors()
        self.mass = KeptMass(layout.attention_topk or 0)
        self.indices = {
            name: {layer: index for index, layer in enumerate(layout.kept(name))} for name in layout.names()
        }
        if PATTERNS in self.indices:  # they come of the maps, also where no row of these is kept
            self.indices[ATTENTION] = self.indices[PATTERNS]

    def part(self, buffer: PartBuffer, encodings: Sequence[Encoding], device: torch.device) -> "PartFill":
        """The buffer of a part, to be filled by what a model on a device computes."""
        return PartFill(self, buffer, encodings, device)


class PartFill:
    """A part in the making. `pieces` are the sequences of its examples, in order."""

    def __init__(
        self, fill: CacheFill, buffer: PartBuffer, encodings: Sequence[Encoding], device: torch.device
    ) -> None:
        self.pieces = _pieces(encodings, buffer)
        self._fill, self._buffer, self._device = fill, buffer, device
        self._array = next((name for name in fill.layout.names() if name not in OF_ATTENTION), None)
        self._begin = starts(np.array([len(encoding.input_ids) for encoding in encodings], np.int64))
        self._part = (
            HostPart(buffer, fill.layout, fill.errors, fill.mass, facts=fill.facts)
            if device.type == "cpu"
            else DevicePart(buffer, fill.layout, fill.errors, fill.mass, device, facts=fill.facts)
        )

    def next_batch(self, indices: Sequence[int]) -> None:
        """What is put from now on are the activations of these pieces."""
        rows = [self.pieces[i] for i in indices]
        self._part.next_batch(rows, self._selection(rows))

    def put(self, name: str, layer: int, values: torch.Tensor) -> None:
        """The activations of one layer of the batch; those that the cache does not keep are passed over."""
        index = self._fill.indices.get(name, {}).get(layer)
        if index is None:
            return
        values = values.to(self._device)  # from another device, of a model that is spread over several
        if name == ATTENTION:
            self._part.put_attention(index, values)
        else:
            self._part.put_rows(name, index, values)

    def finish(self) -> Callable[[], None]:
        """What to call before the part's buffer is read."""
        return self._part.finish()

    def _selection(self, pieces: Sequence[Piece]) -> RowSelection | None:
        """What is kept of the tokens of a batch; None where all are."""
        if self._fill.rows is None or self._array is None:
            return None
        firsts = [int(self._begin[piece.example]) + piece.start for piece in pieces]
        targets = [self._buffer.window(self._array, piece.example).start for piece in pieces]
        spans = [(piece.example, first, piece.length) for piece, first in zip(pieces, firsts, strict=True)]
        return select_rows(self._fill.rows, spans, targets)


def _pieces(encodings: Sequence[Encoding], buffer: PartBuffer) -> list[Piece]:
    """Everything of a part that goes through the model on its own."""
    array = next((name for name in buffer.begin if name not in OF_ATTENTION), None)
    pieces = []
    for example in buffer.examples:
        start = 0
        token = buffer.window(array, example).start if array else 0
        pair = buffer.window(ATTENTION, example).start if ATTENTION in buffer.begin else 0
        for length in encodings[example].sequences:
            pieces.append(Piece(example, start, length, token + start, pair))
            start += length
    return pieces
