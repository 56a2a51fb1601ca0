"""The forward pass that fills a part of a cache: batches of similar length, valid tokens only."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from microtome.jobs.data.encoding import Encoding
from microtome.jobs.models.activation_copy import DevicePart, HostPart, Piece
from microtome.jobs.models.batching import length_sorted_batches, padded
from microtome.jobs.models.capture import SAMPLE_TOKENS, Capture
from microtome.store.cache.layout import ATTENTION, HIDDEN, Layout
from microtome.store.cache.writer import PartBuffer


class ForwardPass:
    """A model that runs the examples of a cache, part by part.

    `encodings` are those of all examples of the cache. What the layout keeps is handed over by the model's
    own modules as it appears, so that one layer of a batch is in memory at a time.
    """

    def __init__(
        self,
        model: Any,
        layout: Layout,
        encodings: Sequence[Encoding],
        *,
        with_segments: bool,
        pad_token_id: int,
    ) -> None:
        self._layout = layout
        self._encodings = encodings
        self._with_segments = with_segments
        self._pad_token_id = pad_token_id
        self._device = next(model.parameters()).device
        self._indices = {
            HIDDEN: {layer: index for index, layer in enumerate(layout.hidden_layers)},
            ATTENTION: {layer: index for index, layer in enumerate(layout.attention_layers)},
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
        on_cpu = self._device.type == "cpu"
        part = HostPart(buffer, self._layout) if on_cpu else DevicePart(buffer, self._layout, self._device)
        put = {HIDDEN: part.put_hidden, ATTENTION: part.put_attention}

        def receive(name: str, layer: int, values: torch.Tensor) -> None:
            put[name](self._indices[name][layer], values)

        with self._capture.hooked():
            for indices in length_sorted_batches([piece.length for piece in pieces], batch_tokens):
                rows = [pieces[i] for i in indices]
                part.next_batch(rows)
                self._capture.run(self._batch(rows), receive)
        return part.finish()

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
    pieces = []
    for example in buffer.examples:
        start = 0
        token = buffer.window(HIDDEN, example).start if HIDDEN in buffer.begin else 0
        pair = buffer.window(ATTENTION, example).start if ATTENTION in buffer.begin else 0
        for length in encodings[example].sequences:
            pieces.append(Piece(example, start, length, token + start, pair))
            start += length
    return pieces
