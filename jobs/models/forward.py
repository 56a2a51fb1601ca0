"""The forward pass that fills a part of a cache: batches of similar length, valid tokens only."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from microtome.jobs.data.encoding import Encoding
from microtome.jobs.models.activation_copy import DevicePart, HostPart, Piece
from microtome.jobs.models.batching import length_sorted_batches, padded
from microtome.store.cache.layout import ATTENTION, HIDDEN, Layout
from microtome.store.cache.writer import PartBuffer
from microtome.store.errors import MicrotomeError


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
) -> Callable[[], None]:
    """Run the examples of a part through the model and write their activations into the buffer.

    `encodings` are those of all examples of the cache. Sequences are sorted by length into batches;
    each result goes back to its own place. The buffer holds its values once the function that this
    returns has come back: on a GPU nothing here waits for them.
    """
    pieces = _pieces(encodings, buffer)
    device = next(model.parameters()).device
    part = HostPart(buffer, layout) if device.type == "cpu" else DevicePart(buffer, layout, device)
    for indices in length_sorted_batches([piece.length for piece in pieces], batch_tokens):
        rows = [pieces[i] for i in indices]
        ids = [encodings[r.example].input_ids[r.start : r.start + r.length] for r in rows]
        segments = (
            [encodings[r.example].segment_ids[r.start : r.start + r.length] for r in rows]
            if with_segments
            else None
        )
        batch = padded(ids, segments, pad_token_id)
        output = model(
            **{name: to_device(value, device) for name, value in batch.items()},
            output_hidden_states=HIDDEN in buffer.arrays,
            output_attentions=ATTENTION in buffer.arrays,
        )
        _check_shapes(output, layout, batch["input_ids"].shape, buffer)
        part.next_batch(rows)
        for index, layer in enumerate(layout.hidden_layers):
            part.put_hidden(index, output.hidden_states[layer])
        for index, layer in enumerate(layout.attention_layers):
            part.put_attention(index, _attention(output.attentions, layer))
        del output  # so that the next pass finds its memory warm
    return part.finish()


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


def _check_shapes(output: Any, layout: Layout, shape: Sequence[int], buffer: PartBuffer) -> None:
    """MicrotomeError if what the model returns is not what its config says: one stack of equal layers."""
    wanted = {
        "hidden_states": (HIDDEN, layout.layers + 1, (*shape, layout.dim)),
        "attentions": (ATTENTION, layout.layers, (shape[0], layout.heads, shape[1], shape[1])),
    }
    for name, (array, count, each) in wanted.items():
        if array not in buffer.arrays:
            continue
        found = [tuple(layer.shape) for layer in getattr(output, name, None) or () if layer is not None]
        if found and found != [tuple(each)] * count:
            odd = next((layer for layer in found if layer != tuple(each)), tuple(each))
            raise MicrotomeError(
                f"the model returned {len(found)} {name.replace('_', ' ')}, one of them {list(odd)}, where "
                f"its config promises {count} of {list(each)}; this architecture cannot be cached"
            )


def _attention(maps: Sequence[torch.Tensor | None], layer: int) -> torch.Tensor:
    found = maps[layer]
    if found is None:
        raise MicrotomeError("the model returned no attentions; it was not loaded with eager attention")
    return found
