"""The forward pass that fills a part of a cache: batches of similar length, valid tokens only."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from microtome.jobs.data.encoding import Encoding
from microtome.jobs.models.activation_copy import DevicePart, HostPart, Piece
from microtome.jobs.models.batching import length_sorted_batches, padded
from microtome.jobs.models.capture import SAMPLE_TOKENS, Capture
from microtome.jobs.models.rounding import RoundingErrors
from microtome.jobs.models.row_selection import RowSelection, select_rows
from microtome.jobs.models.strongest import KeptMass
from microtome.store.cache.layout import ATTENTION, Layout, starts
from microtome.store.cache.token_rows import TokenRows
from microtome.store.cache.writer import PartBuffer


class ForwardPass:
    """A model that runs the examples of a cache, part by part.

    `encodings` are those of all examples of the cache, `rows` what is kept of their tokens, if not all. What
    the layout keeps is handed over by the model's own modules as it appears, so that one layer of a batch is
    in memory at a time. `errors` has how far rounding to int8 has moved the values so far, `mass` how much of
    the attentions was kept.
    """

    def __init__(
        self,
        model: Any,
        layout: Layout,
        encodings: Sequence[Encoding],
        *,
        with_segments: bool,
        pad_token_id: int,
        rows: TokenRows | None = None,
    ) -> None:
        self._layout = layout
        self._encodings = encodings
        self._with_segments = with_segments
        self._pad_token_id = pad_token_id
        self._device = next(model.parameters()).device
        self._rows = rows
        self._begin = starts(np.array([len(encoding.input_ids) for encoding in encodings], np.int64))
        self.errors = RoundingErrors()
        self.mass = KeptMass(layout.attention_topk or 0)
        self._indices = {
            name: {layer: index for index, layer in enumerate(layout.kept(name))} for name in layout.names()
        }
        with torch.inference_mode():
            self._capture = Capture(model, layout, self._sample())

    @torch.inference_mode()
    def fill(self, buffer: PartBuffer, batch_tokens: int) -> Callable[[], None]:
        """Run the examples of a part and write their activations into the buffer.

        Sequences are sorted by length into batches; each result goes back to its own place. The buffer
        holds its values once the function that this returns has come back: on a GPU nothing here waits.
        """
        pieces = _pieces(self._encodings, buffer)
        part = (
            HostPart(buffer, self._layout, self.errors, self.mass)
            if self._device.type == "cpu"
            else DevicePart(buffer, self._layout, self.errors, self.mass, self._device)
        )

        def receive(name: str, layer: int, values: torch.Tensor) -> None:
            index = self._indices[name][layer]
            if name == ATTENTION:
                part.put_attention(index, values)
            else:
                part.put_rows(name, index, values)

        with self._capture.hooked():
            for indices in length_sorted_batches([piece.length for piece in pieces], batch_tokens):
                rows = [pieces[i] for i in indices]
                part.next_batch(rows, self._selection(rows, buffer))
                self._capture.run(self._batch(rows), receive)
        return part.finish()

    def _selection(self, pieces: Sequence[Piece], buffer: PartBuffer) -> RowSelection | None:
        """What is kept of the tokens of a batch; None where all are."""
        array = next((name for name in self._layout.names() if name != ATTENTION), None)
        if self._rows is None or array is None:
            return None
        firsts = [int(self._begin[piece.example]) + piece.start for piece in pieces]
        targets = [buffer.window(array, piece.example).start for piece in pieces]
        spans = [(piece.example, first, piece.length) for piece, first in zip(pieces, firsts, strict=True)]
        return select_rows(self._rows, spans, targets)

    def _batch(self, rows: Sequence[Piece]) -> dict[str, torch.Tensor]:
        """The model's inputs for some sequences, padded, on its device."""
        ids = [self._encodings[r.example].input_ids[r.start : r.start + r.length] for r in rows]
        segments = (
            [self._encodings[r.example].segment_ids[r.start : r.start + r.length] for r in rows]
            if self._with_segments
            else None
        )
        batch = padded(ids, segments, self._pad_token_id)
        return {name: to_device(value, self._device) for name, value in batch.items()}

    def _sample(self) -> dict[str, torch.Tensor]:
        """The first few tokens of the first sequence."""
        length = min(SAMPLE_TOKENS, self._encodings[0].sequences[0])
        return self._batch([Piece(0, 0, length, 0, 0)])


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Values on a device, without waiting for it."""
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)


def _pieces(encodings: Sequence[Encoding], buffer: PartBuffer) -> list[Piece]:
    """Everything of a part that goes through the model on its own."""
    array = next((name for name in buffer.begin if name != ATTENTION), None)
    pieces = []
    for example in buffer.examples:
        start = 0
        token = buffer.window(array, example).start if array else 0
        pair = buffer.window(ATTENTION, example).start if ATTENTION in buffer.begin else 0
        for length in encodings[example].sequences:
            pieces.append(Piece(example, start, length, token + start, pair))
            start += length
    return pieces
