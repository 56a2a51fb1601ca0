"""Which rows of a cache a padded batch gives: tokens as they are, or means of some."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from microtome.store.cache.token_rows import TokenRows


@dataclass(frozen=True)
class RowSelection:
    """source  int64 [m]      tokens of the flattened batch
    target  int64 [rows]   where the rows go in their part's arrays
    row     int64 [m]      the row that each of `source` is of; None where each is a row of its own
    counts  float32 [rows] how many of `source` each row has
    """

    source: torch.Tensor
    target: torch.Tensor
    row: torch.Tensor | None = None
    counts: torch.Tensor | None = None

    def of(self, states: torch.Tensor) -> torch.Tensor:
        """The rows of [batch, S, d]: [rows, d], in float32 where they are means."""
        tokens = states.flatten(0, 1).index_select(0, self.source)
        if self.row is None or self.counts is None:
            return tokens
        total = torch.zeros(len(self.target), states.shape[-1], device=states.device)
        return total.index_add_(0, self.row, tokens.float()) / self.counts[:, None]

    def to(self, device: torch.device) -> "RowSelection":
        """The same on a device."""
        row = None if self.row is None else self.row.to(device)
        counts = None if self.counts is None else self.counts.to(device)
        return RowSelection(self.source.to(device), self.target.to(device), row, counts)


def select_rows(
    rows: TokenRows, spans: Sequence[tuple[int, int, int]], targets: Sequence[int]
) -> RowSelection:
    """The rows of the sequences of a batch. A span is a sequence's example, its first token counted over all
    examples, and its length; a target is where the rows of its example begin in the part.

    A row belongs to the sequence that its first token is in.
    """
    longest = max(length for _, _, length in spans)
    source, row, counts, target = [], [], [], []
    total = 0
    for number, ((example, first, length), place) in enumerate(zip(spans, targets, strict=True)):
        begin, end = rows.offsets[example : example + 2]
        first_tokens = rows.tokens[rows.starts[begin:end]]
        own = begin + np.flatnonzero((first_tokens >= first) & (first_tokens < first + length))
        if not len(own):
            continue
        window = slice(rows.starts[own[0]], rows.starts[own[-1] + 1])
        sizes = rows.starts[own + 1] - rows.starts[own]
        source.append(number * longest + rows.tokens[window] - first)
        row.append(total + np.repeat(np.arange(len(own)), sizes))
        counts.append(sizes)
        target.append(place + own - begin)
        total += len(own)
    sizes_of_rows = _tensor(counts)
    if (sizes_of_rows == 1).all():
        return RowSelection(_tensor(source), _tensor(target))
    return RowSelection(_tensor(source), _tensor(target), _tensor(row), sizes_of_rows.float())


def _tensor(parts: list[np.ndarray]) -> torch.Tensor:
    return (
        torch.from_numpy(np.concatenate(parts).astype(np.int64))
        if parts
        else torch.zeros(0, dtype=torch.int64)
    )
