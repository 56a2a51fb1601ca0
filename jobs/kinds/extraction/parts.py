"""Fills the parts of a cache with what a model computes, in batches that fit into memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from microtome.jobs.data.encoding import Encoding
from microtome.jobs.process.logs import log_progress
from microtome.store.cache.writer import BUFFERS, CacheWriter

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}  # small batches stay in a processor's caches
MIN_BATCH_TOKENS = 64  # of a forward pass, when memory runs out

BEYOND_FLOAT16 = "beyond-float16"  # a file in the folder of those who write a cache


class WrittenWider(Exception):
    """Another process that writes parts of the same cache met values beyond float16."""


def compute_parts(
    writer: CacheWriter, encodings: Sequence[Encoding], model: Any, tokenizer: Any, batch_tokens: int | None
) -> None:
    """Fill and write every part that nobody else does; one is written while the next is computed."""
    import torch

    from microtome.jobs.models.batching import takes_segments
    from microtome.jobs.models.forward import ForwardPass

    tokens = batch_tokens or tokens_that_fit(writer, encodings, model)
    forward = ForwardPass(
        model,
        writer.layout,
        encodings,
        with_segments=takes_segments(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        rows=writer.rows,
    )
    for buffer in writer.claims():
        if writer.layout.dtype == "float16" and (writer.scratch / BEYOND_FLOAT16).exists():
            raise WrittenWider
        ready = None
        while ready is None:
            try:
                ready = forward.fill(buffer, tokens)
            except torch.OutOfMemoryError:
                if tokens <= MIN_BATCH_TOKENS:
                    raise
                tokens //= 2
                torch.cuda.empty_cache()
                log_progress(f"out of memory: {tokens} tokens per forward pass from here on")
        writer.submit(buffer, ready)
        log_progress(f"part {buffer.number + 1}/{len(writer.parts)}")
    writer.wait()
    if writer.layout.dtype == "int8" and forward.errors.squares:
        log_progress(str(forward.errors))
    if forward.mass.sums:
        log_progress(str(forward.mass))


def tokens_that_fit(writer: CacheWriter, encodings: Sequence[Encoding], model: Any) -> int:
    """Tokens per forward pass: what suits the device, or on a GPU less, if that takes more memory than is
    free beside two parts."""
    import torch

    from microtome.jobs.models.memory import fitting_tokens

    most = BATCH_TOKENS[model.device.type]
    if model.device.type == "cpu":
        return most  # so few tokens fit wherever the weights do
    free = torch.cuda.mem_get_info(model.device)[0] - BUFFERS * writer.largest_part()
    longest = max(length for encoding in encodings for length in encoding.sequences)
    tokens = fitting_tokens(model, longest, most, free)
    if tokens < most:
        log_progress(f"{tokens} tokens per forward pass, so that {longest} tokens of a text fit into memory")
    return tokens


def pinned_memory(size: int) -> np.ndarray:
    """uint8 [size] that a GPU can copy into while the program goes on."""
    import torch

    return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
