"""The forward pass that fills a part of a cache: batches of similar length, valid tokens only."""

from collections.abc import Sequence
from typing import Any

import torch

from jobs.data.encoding import Encoding
from jobs.models.batching import length_sorted_batches, padded
from store.activations import PartBuffer
from store.errors import MicrotomeError
from store.layout import ATTENTION, HIDDEN, Layout


@torch.inference_mode()
def fill(
    buffer: PartBuffer,
    layout: Layout,
    encodings: Sequence[Encoding],
    model: Any,
    *,
    with_segments: bool,
    pad_token_id: int,
    batch_tokens: int,
) -> None:
    """Run the examples of a part through the model and write their activations into the buffer.

    `encodings` are those of all examples of the cache. Sequences are sorted by length into batches;
    each result goes back to its own place.
    """
    pieces = _sequences(encodings, buffer.examples)
    device = next(model.parameters()).device
    for indices in length_sorted_batches([stop - start for _, start, stop in pieces], batch_tokens):
        rows = [pieces[i] for i in indices]
        ids = [encodings[e].input_ids[start:stop] for e, start, stop in rows]
        segments = (
            [encodings[e].segment_ids[start:stop] for e, start, stop in rows] if with_segments else None
        )
        batch = {name: value.to(device) for name, value in padded(ids, segments, pad_token_id).items()}
        output = model(
            **batch,
            output_hidden_states=HIDDEN in buffer.arrays,
            output_attentions=ATTENTION in buffer.arrays,
        )
        if HIDDEN in buffer.arrays:
            _store_hidden(buffer, layout, output.hidden_states, rows)
        if ATTENTION in buffer.arrays:
            _store_attention(buffer, layout, output.attentions, rows)
        del output  # so that the next pass finds its memory warm


def _sequences(encodings: Sequence[Encoding], examples: range) -> list[tuple[int, int, int]]:
    """(example, start, stop) of everything that goes through the model on its own."""
    pieces = []
    for example in examples:
        start = 0
        for length in encodings[example].sequences:
            pieces.append((example, start, start + length))
            start += length
    return pieces


def _store_hidden(
    buffer: PartBuffer, layout: Layout, states: Sequence[torch.Tensor], rows: list[tuple[int, int, int]]
) -> None:
    part = torch.from_numpy(buffer.arrays[HIDDEN])
    for index, layer in enumerate(layout.hidden_layers):
        values = states[layer].to(part.dtype).cpu()
        for row, (example, start, stop) in enumerate(rows):
            first = buffer.window(HIDDEN, example).start + start
            part[index, first : first + stop - start] = values[row, : stop - start]


def _store_attention(
    buffer: PartBuffer, layout: Layout, maps: Sequence[torch.Tensor | None], rows: list[tuple[int, int, int]]
) -> None:
    part = torch.from_numpy(buffer.arrays[ATTENTION])
    for index, layer in enumerate(layout.attention_layers):
        found = maps[layer]
        if found is None:
            raise MicrotomeError("the model returned no attentions; it was not loaded with eager attention")
        values = found.to(part.dtype).cpu()
        if layout.causal and values[0, 0].triu(1).any():
            raise MicrotomeError("this architecture was taken for causal, but tokens see what is after them")
        for row, (example, start, stop) in enumerate(rows):
            length = stop - start
            square = values[row, :, :length, :length]
            place = part[index, :, buffer.window(ATTENTION, example)]
            if layout.causal:
                place[:] = square[(slice(None), *torch.tril_indices(length, length))]
            else:
                place.unflatten(1, (length, length))[:] = square
