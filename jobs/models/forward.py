"""The forward pass that fills parts of caches: batches of similar length, valid tokens only."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from microtome.jobs.data.encoding import Encoding
from microtome.jobs.models.activation_copy import Piece
from microtome.jobs.models.batching import length_sorted_batches, padded
from microtome.jobs.models.cache_fill import CacheFill
from microtome.jobs.models.capture import SAMPLE_TOKENS, Capture
from microtome.jobs.models.placement import input_device
from microtome.store.cache.layout import Layout
from microtome.store.cache.writer import PartBuffer


class ForwardPass:
    """A model that runs examples part by part, for one cache or for several that are of the same examples.

    `encodings` are those of all examples. What the caches keep is handed over by the model's own modules as
    it appears, so that one layer of a batch is in memory at a time.
    """

    def __init__(
        self,
        model: Any,
        fills: Sequence[CacheFill],
        encodings: Sequence[Encoding],
        *,
        with_segments: bool,
        pad_token_id: int,
    ) -> None:
        self._fills = fills
        self._encodings = encodings
        self._with_segments = with_segments
        self._pad_token_id = pad_token_id
        self._device = input_device(model)
        with torch.inference_mode():
            self._capture = Capture(model, layout_of_all([fill.layout for fill in fills]), self._sample())

    @torch.inference_mode()
    def fill(self, buffers: Sequence[PartBuffer | None], batch_tokens: int) -> list[Callable[[], None]]:
        """Run the examples of a part and write their activations into its buffer in each cache; None stands
        for a cache that needs no part. Every buffer is of the same examples.

        Sequences are sorted by length into batches; each result goes back to its own place. A buffer holds
        its values once its function among those that this returns has come back: on a GPU nothing waits.
        """
        filling = [
            fill.part(buffer, self._encodings, self._device)
            for fill, buffer in zip(self._fills, buffers, strict=True)
            if buffer is not None
        ]

        def receive(name: str, layer: int, values: torch.Tensor) -> None:
            for part in filling:
                part.put(name, layer, values)

        pieces = filling[0].pieces
        with self._capture.hooked():
            for indices in length_sorted_batches([piece.length for piece in pieces], batch_tokens):
                for part in filling:
                    part.next_batch(indices)
                self._capture.run(self._batch([pieces[i] for i in indices]), receive)
        return [part.finish() for part in filling]

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


def layout_of_all(layouts: Sequence[Layout]) -> Layout:
    """A layout with every layer that one of these keeps of a model."""

    def layers(of: Callable[[Layout], Sequence[int]]) -> tuple[int, ...]:
        return tuple(sorted({layer for layout in layouts for layer in of(layout)}))

    sites = {}
    for layout in layouts:
        for site in layout.sites:
            kept = layers(lambda each, name=site.name: each.kept(name))  # type: ignore[misc]
            sites[site.name] = replace(site, layers=kept)
    return replace(
        layouts[0],
        heads=max(layout.heads for layout in layouts),
        hidden_layers=layers(lambda each: each.hidden_layers),
        attention_layers=layers(lambda each: each.attention_layers),
        attention_patterns=None,  # the model makes maps, whatever is kept of them
        attention_rows=None,
        sites=tuple(sites.values()),
    )


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Values on a device, without waiting for it."""
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)
