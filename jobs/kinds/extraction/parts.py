"""Fills the parts of caches with what a model computes, in batches that fit into memory."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microtome.analysis.attention.patterns import TokenFacts
from microtome.jobs.data.encoding import Encoding
from microtome.jobs.process.logs import log_progress
from microtome.store.cache.writer import BUFFERS, CacheWriter
from microtome.store.errors import DtypeOverflowError

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}  # small batches stay in a processor's caches
MIN_BATCH_TOKENS = 64  # of a forward pass, when memory runs out

WIDER = "bfloat16"  # dtype on disk that has the range of float32 in the size of float16
BEYOND_FLOAT16 = "beyond-float16"  # a file in the folder of those who write a cache


class WrittenWider(Exception):
    """Values beyond float16 were met, by this process or another that writes parts of the same cache: the
    cache is written in another dtype from its first part on."""


def compute_parts(
    writers: Sequence[CacheWriter],
    encodings: Sequence[Encoding],
    model: Any,
    tokenizer: Any,
    batch_tokens: int | None,
    facts: Sequence[TokenFacts | None],
) -> None:
    """Fill and write every part that nobody else does, of caches that have the same examples and parts: one
    pass is for all of them. A part is written while the next is computed. `facts` are of the examples of each
    cache that keeps patterns of attention."""
    import torch

    from microtome.jobs.models.batching import takes_segments
    from microtome.jobs.models.cache_fill import CacheFill
    from microtome.jobs.models.forward import ForwardPass

    tokens = batch_tokens or tokens_that_fit(writers, encodings, model)
    fills = [CacheFill(w.layout, w.rows, each) for w, each in zip(writers, facts, strict=True)]
    forward = ForwardPass(
        model,
        fills,
        encodings,
        with_segments=takes_segments(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )
    parts = len(writers[0].parts)
    for number in range(parts):
        buffers = [writer.claim(number) for writer in writers]
        if not any(buffers):
            continue
        for writer in writers:
            _refuse_if_written_wider(writer)
        ready = None
        while ready is None:
            try:
                ready = forward.fill(buffers, tokens)
            except torch.OutOfMemoryError:
                if tokens <= MIN_BATCH_TOKENS:
                    raise
                tokens //= 2
                torch.cuda.empty_cache()
                log_progress(f"out of memory: {tokens} tokens per forward pass from here on")
        claimed = [(w, b) for w, b in zip(writers, buffers, strict=True) if b is not None]
        for (writer, buffer), wait in zip(claimed, ready, strict=True):
            with _overflow_noted(writer):
                writer.submit(buffer, wait)
        log_progress(f"part {number + 1}/{parts}")
    for writer, fill in zip(writers, fills, strict=True):
        with _overflow_noted(writer):
            writer.wait()
        if writer.layout.dtype == "int8" and fill.errors.squares:
            log_progress(str(fill.errors))
        if fill.mass.sums:
            log_progress(str(fill.mass))


def dtype_on_disk(dtype: str, scratch: Path) -> str:
    """All parts of a cache have one dtype, whichever processes write them: a file in the folder that they
    share says that float16 does not do."""
    return WIDER if dtype == "float16" and (scratch / BEYOND_FLOAT16).exists() else dtype


def _refuse_if_written_wider(writer: CacheWriter) -> None:
    if dtype_on_disk(writer.layout.dtype, writer.scratch) != writer.layout.dtype:
        log_progress(f"another process met values beyond float16: the cache is written in {WIDER}")
        raise WrittenWider


@contextlib.contextmanager
def _overflow_noted(writer: CacheWriter) -> Iterator[None]:
    """An error of values beyond float16 as WrittenWider, once all who write the cache can know of it."""
    try:
        yield
    except DtypeOverflowError as error:
        if writer.layout.dtype != "float16":
            raise
        (writer.scratch / BEYOND_FLOAT16).touch()
        log_progress(f"{error}: the cache is written in {WIDER}, from its first part on")
        raise WrittenWider from None


def tokens_that_fit(writers: Sequence[CacheWriter], encodings: Sequence[Encoding], model: Any) -> int:
    """Tokens per forward pass: what suits the device, or on a GPU less, if that takes more memory than is
    free beside two parts of each cache."""
    import torch

    from microtome.jobs.models.memory import fitting_tokens
    from microtome.jobs.models.placement import input_device

    device = input_device(model)
    most = BATCH_TOKENS[device.type]
    if device.type == "cpu":
        return most  # so few tokens fit wherever the weights do
    parts = BUFFERS * sum(writer.largest_part() for writer in writers)
    free = torch.cuda.mem_get_info(device)[0] - parts
    longest = max(length for encoding in encodings for length in encoding.sequences)
    tokens = fitting_tokens(model, longest, most, free)
    if tokens < most:
        log_progress(f"{tokens} tokens per forward pass, so that {longest} tokens of a text fit into memory")
    return tokens


def pinned_memory(size: int) -> np.ndarray:
    """uint8 [size] that a GPU can copy into while the program goes on."""
    import torch

    return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
